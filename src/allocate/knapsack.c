/* knapsack.c - see knapsack.h. */
#include "allocate/knapsack.h"

#include "base/mem.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    /* log lambda is searched for in -120 .. 120; 100 halvings leave 2e-28 of that, less than a
     * double resolves. */
    BISECTIONS = 100,
    /* Spare bytes are counted in quanta, of which there are at most MAX_STATES: with 400 units and
     * 19 options, dynamic programming then takes some 1e8 steps and 13 MB. The result is within 0.1
     * % of the bound; the greedy fill spends what rounding to quanta left over. */
    MAX_STATES = 16384
};

struct solver {
    const struct ram_item *items;
    size_t n;
    uint64_t budget;
};

static void measure(const struct solver *s, const size_t *choice, struct ram_choice *out)
{
    out->bytes = 0;
    out->cost = 0;
    for (size_t i = 0; i < s->n; i++) {
        out->bytes += s->items[i].options[choice[i]].bytes;
        out->cost += s->items[i].options[choice[i]].cost;
    }
}

/* ---- Lagrangian ------------------------------------------------------------------------- */

static bool better(double value, const struct ram_option *a, double best,
                   const struct ram_option *b)
{
    return value < best || (value == best && a->bytes < b->bytes);
}

/*
 * Instead of limiting the bytes, this puts a price lambda on each byte: every item takes the option
 * with the least cost + lambda x bytes, independently of the others. For any lambda >= 0, the
 * minimum of cost + lambda (bytes - budget) is at most the cost of every choice within the budget.
 * That value is returned; it is a lower bound.
 */
static double relax(const struct solver *s, double lambda, size_t *choice, struct ram_choice *out)
{
    double value = -lambda * (double)s->budget;

    for (size_t i = 0; i < s->n; i++) {
        const struct ram_option *options = s->items[i].options;
        double best = INFINITY;
        for (size_t o = 0; o < s->items[i].n; o++) {
            const double v = options[o].cost + lambda * (double)options[o].bytes;
            if (o == 0 || better(v, &options[o], best, &options[choice[i]])) {
                best = v;
                choice[i] = o;
            }
        }
        value += best;
    }
    measure(s, choice, out);
    return value;
}

/* The choice of the smallest lambda that fits the budget, and the largest lower bound that was seen
 * on the way. The bytes of the choice fall as lambda rises, which makes bisection possible. */
static void bisect(const struct solver *s, size_t *choice, struct ram_choice *out)
{
    double low = -120, high = 120; /* log of lambda, in nats a byte */

    out->bound = fmax(0, relax(s, 0, choice, out));
    if (out->bytes <= s->budget)
        return;
    double bound = 0;
    for (int k = 0; k < BISECTIONS; k++) {
        const double middle = (low + high) / 2;
        bound = fmax(bound, relax(s, exp(middle), choice, out));
        if (out->bytes > s->budget)
            low = middle;
        else
            high = middle;
    }
    bound = fmax(bound, relax(s, exp(high), choice, out));
    out->bound = bound;
}

/* ---- greedy ----------------------------------------------------------------------------- */

/* Spends the remaining bytes, always on the change that lowers the cost most per byte. A change
 * that lowers the cost and needs no more bytes is counted as half a byte, so that it comes first.
 */
static void fill(const struct solver *s, size_t *choice, struct ram_choice *out)
{
    for (;;) {
        const uint64_t left = s->budget - out->bytes;
        double best = 0;
        size_t item = 0, option = 0;
        for (size_t i = 0; i < s->n; i++) {
            const struct ram_option *now = &s->items[i].options[choice[i]];
            for (size_t o = 0; o < s->items[i].n; o++) {
                const struct ram_option *to = &s->items[i].options[o];
                if (to->cost >= now->cost ||
                    (to->bytes > now->bytes && to->bytes - now->bytes > left))
                    continue;
                const double more = to->bytes > now->bytes ? (double)(to->bytes - now->bytes) : 0.5;
                if ((now->cost - to->cost) / more > best) {
                    best = (now->cost - to->cost) / more;
                    item = i;
                    option = o;
                }
            }
        }
        if (best <= 0)
            return;
        choice[item] = option;
        measure(s, choice, out);
    }
}

/* ---- dynamic programming ---------------------------------------------------------------- */

static uint64_t least_bytes(const struct ram_item *item)
{
    uint64_t least = UINT64_MAX;
    for (size_t o = 0; o < item->n; o++)
        least = item->options[o].bytes < least ? item->options[o].bytes : least;
    return least;
}

/* best[b] is the least cost of the items so far with at most b quanta more than their smallest
 * options need; next is the same including `item`, and taken[b] the option that gives it. */
static void add_item(const struct ram_item *item, uint64_t quantum, size_t n_states,
                     const double *best, double *next, uint16_t *taken)
{
    const uint64_t least = least_bytes(item);

    for (size_t b = 0; b < n_states; b++) {
        next[b] = INFINITY;
        taken[b] = 0;
    }
    for (size_t o = 0; o < item->n; o++) {
        const uint64_t quanta = (item->options[o].bytes - least + quantum - 1) / quantum;
        const double cost = item->options[o].cost;
        for (size_t b = (size_t)quanta; quanta < n_states && b < n_states; b++)
            if (best[b - quanta] + cost < next[b]) {
                next[b] = best[b - quanta] + cost;
                taken[b] = (uint16_t)o;
            }
    }
}

/* Dynamic programming over the bytes beyond the smallest options. They are rounded up to whole
 * quanta, so that the choice always fits the budget. */
static int program(const struct solver *s, uint64_t spare, size_t *choice, struct ram_err *err)
{
    const uint64_t quantum = spare / MAX_STATES + 1;
    const size_t n_states = (size_t)(spare / quantum) + 1;
    double *best = ram_calloc(2 * n_states, sizeof *best, err), *next = best + n_states;
    uint16_t *taken = ram_calloc(s->n, n_states * sizeof *taken, err);
    int status = best && taken ? RAM_OK : RAM_ENOMEM;

    for (size_t i = 0; !status && i < s->n; i++) {
        add_item(&s->items[i], quantum, n_states, i % 2 ? next : best, i % 2 ? best : next,
                 taken + i * n_states);
    }
    size_t b = n_states - 1;
    for (size_t i = s->n; !status && i-- > 0;) {
        const struct ram_item *item = &s->items[i];
        choice[i] = taken[i * n_states + b];
        b -= (size_t)((item->options[choice[i]].bytes - least_bytes(item) + quantum - 1) / quantum);
    }
    free(best);
    free(taken);
    return status;
}

int ram_knapsack_solve(const struct ram_item *items, size_t n, uint64_t budget, size_t *choice,
                       struct ram_choice *result, struct ram_err *err)
{
    const struct solver s = {.items = items, .n = n, .budget = budget};
    struct ram_choice programmed;
    uint64_t least = 0;

    for (size_t i = 0; i < n; i++)
        least += least_bytes(&items[i]);
    *result = (struct ram_choice){.bytes = least};
    if (least > budget)
        return ram_fail(err, RAM_EBUDGET, "%llu bytes are not enough: the smallest plan takes %llu",
                        (unsigned long long)budget, (unsigned long long)least);
    bisect(&s, choice, result);
    fill(&s, choice, result);
    size_t *other = ram_calloc(n, sizeof *other, err);
    int status = other ? program(&s, budget - least, other, err) : RAM_ENOMEM;
    if (!status) {
        programmed.bound = result->bound;
        measure(&s, other, &programmed);
        fill(&s, other, &programmed);
        if (programmed.cost < result->cost) {
            *result = programmed;
            memcpy(choice, other, n * sizeof *choice);
        }
    }
    free(other);
    return status;
}
