/* tokenizer_queue.c - see tokenizer_queue.h. */
#include "text/tokenizer_queue.h"

#include "base/mem.h"

#include <stdlib.h>

/* Monotone in the rank: its highest bit, and the two bits after that. */
static size_t lane_of(uint64_t key)
{
    const uint32_t rank = (uint32_t)(key >> 32);

    if (rank < 4)
        return rank;
    const unsigned top = 31 - (unsigned)__builtin_clz(rank);
    return 4 * (size_t)(top - 1) + ((rank >> (top - 2)) & 3);
}

static void sift_up(uint64_t *heap, size_t i)
{
    const uint64_t key = heap[i];

    for (; i && heap[(i - 1) / 2] > key; i = (i - 1) / 2)
        heap[i] = heap[(i - 1) / 2];
    heap[i] = key;
}

static void sift_down(uint64_t *heap, size_t n, size_t i)
{
    const uint64_t key = heap[i];

    for (size_t child; (child = 2 * i + 1) < n; i = child) {
        if (child + 1 < n && heap[child + 1] < heap[child])
            child++;
        if (heap[child] >= key)
            break;
        heap[i] = heap[child];
    }
    heap[i] = key;
}

int ram_queue_push(struct ram_queue *queue, uint64_t key, struct ram_err *err)
{
    const size_t own = lane_of(key), i = own > queue->current ? own : queue->current;
    struct ram_queue_lane *lane = &queue->lanes[i];

    const int status = ram_grow(&lane->keys, sizeof *lane->keys, lane->n, &lane->cap, err);
    if (status)
        return status;
    lane->keys[lane->n++] = key;
    if (i == queue->current)
        sift_up(lane->keys, lane->n - 1);
    return RAM_OK;
}

bool ram_queue_pop(struct ram_queue *queue, uint64_t *key)
{
    struct ram_queue_lane *lane = &queue->lanes[queue->current];

    if (!lane->n) {
        while (++queue->current < RAM_QUEUE_LANES && !queue->lanes[queue->current].n)
            ;
        if (queue->current == RAM_QUEUE_LANES) {
            queue->current = 0;
            return false;
        }
        lane = &queue->lanes[queue->current];
        for (size_t i = lane->n / 2; i--;)
            sift_down(lane->keys, lane->n, i);
    }
    *key = lane->keys[0];
    lane->keys[0] = lane->keys[--lane->n];
    if (lane->n)
        sift_down(lane->keys, lane->n, 0);
    return true;
}

void ram_queue_clear(struct ram_queue *queue)
{
    for (size_t i = 0; i < RAM_QUEUE_LANES; i++)
        queue->lanes[i].n = 0;
    queue->current = 0;
}

void ram_queue_release(struct ram_queue *queue)
{
    for (size_t i = 0; i < RAM_QUEUE_LANES; i++)
        free(queue->lanes[i].keys);
    *queue = (struct ram_queue){0};
}
