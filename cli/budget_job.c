/* budget_job.c - see budget_job.h. */
#include "budget_job.h"

#include "message.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

const char *const budget_efforts[] = {"auto", "fast", "normal", "best", NULL};

static const char *duration(double seconds, char text[32])
{
    if (seconds < 60)
        snprintf(text, 32, "%.0f s", fmax(seconds, 1));
    else if (seconds < 5400)
        snprintf(text, 32, "%.0f min", seconds / 60);
    else
        snprintf(text, 32, "%.1f h", seconds / 3600);
    return text;
}

int budget_begin(struct budget *b, const struct ram_ckpt *ckpt, int effort, struct job *job,
                 struct ram_err *err)
{
    struct ram_effort efforts[RAM_N_EFFORTS];
    enum ram_effort_level usual = RAM_EFFORT_NORMAL;
    struct ram_manifest *survey = NULL;
    char time[RAM_N_EFFORTS][32];

    int status = ram_survey(ckpt, &survey, err);
    if (!status)
        status = ram_efforts(survey, &job->run, efforts, &usual, err);
    ram_manifest_free(survey);
    if (status)
        return status;
    const size_t chosen = effort ? (size_t)effort - 1 : (size_t)usual;
    b->effort = efforts[chosen];
    b->effort.probe.text = b->text;
    if (b->encoder) {
        b->effort.encoder = b->encoder;
        b->effort.probe.curves = !strcmp(b->encoder, "gptq") && chosen == RAM_EFFORT_BEST;
    }
    if (job->progress.quiet)
        return RAM_OK;
    message("effort %s: %s; about %s here (%s)", b->effort.name, b->effort.what,
            duration(efforts[chosen].seconds, time[0]),
            effort ? "as asked for" : "usual for a model of this size");
    message("--effort fast takes about %s, normal %s, best %s",
            duration(efforts[RAM_EFFORT_FAST].seconds, time[0]),
            duration(efforts[RAM_EFFORT_NORMAL].seconds, time[1]),
            duration(efforts[RAM_EFFORT_BEST].seconds, time[2]));
    return RAM_OK;
}

int budget_probe(struct budget *b, const struct ram_ckpt *ckpt, struct ram_manifest *manifest,
                 const struct ram_allocate_opts *opts, struct job *job, struct ram_err *err)
{
    struct ram_plan *trial = NULL;

    /* A budget that is too small does not become larger by what a probe finds. */
    int status = ram_allocate(manifest, opts, &trial, err);
    ram_plan_free(trial);
    if (status)
        return status;
    status = job_stage_done(job, ram_probe(ckpt, manifest, &b->effort.probe, &job->run, err));
    b->probed = !status;
    if (status != RAM_EUNSUPPORTED)
        return status;
    if (!job->progress.quiet)
        message("note: %s; deciding by the weights alone", err->message);
    *err = (struct ram_err){0};
    return RAM_OK;
}

static int fall_back(struct budget *b, const struct ram_manifest *manifest, struct ram_plan **plan,
                     struct ram_err *err)
{
    const struct ram_allocate_opts uniform = {
        .method = "uniform", .bits = b->check.uniform_bits, .group = b->check.uniform_group};
    struct ram_plan *other = NULL;

    const int status = ram_allocate(manifest, &uniform, &other, err);
    if (status)
        return status;
    ram_plan_free(*plan);
    *plan = other;
    b->fell_back = true;
    return RAM_OK;
}

int budget_check(struct budget *b, const char *dir, const struct ram_ckpt *ckpt,
                 const struct ram_manifest *manifest, struct ram_plan **plan,
                 const struct alloc_args *args, struct job *job, struct ram_err *err)
{
    if (!b->probed)
        return RAM_OK;
    const int status =
        job_stage_done(job, ram_self_check(dir, ckpt, manifest, *plan, &b->effort.probe, &job->run,
                                           &b->check, err));
    b->checked = !status;
    if (status || !(b->check.kld > b->check.kld_uniform))
        return status;
    const bool own = args->set.n || args->protect.n || args->sensitive.n;
    message("note: on held-out tokens uniform %d-bit g%d diverges less, %.3g against %.3g nats; %s",
            b->check.uniform_bits, b->check.uniform_group, b->check.kld_uniform, b->check.kld,
            own ? "kept all the same, since widths were set by hand" : "writing that instead");
    return own ? RAM_OK : fall_back(b, manifest, plan, err);
}

void budget_print(const struct budget *b, const struct ram_plan *plan)
{
    const struct ram_self_check *c = &b->check;
    struct ram_plan_totals totals;

    if (!b->checked)
        return;
    ram_plan_totals(plan, &totals);
    printf("\nDivergence from the original on %llu held-out tokens of its own: %.3g nats a token",
           (unsigned long long)c->tokens, c->kld);
    if (!b->fell_back && isfinite(totals.predicted_kld))
        printf(", predicted %.3g", totals.predicted_kld);
    if (isfinite(c->kld_uniform))
        printf(";\nuniform %d-bit g%d, the best in no more bytes: %.3g", c->uniform_bits,
               c->uniform_group, c->kld_uniform);
    printf(".%s\n", b->fell_back ? " So the uniform one was written." : "");
}

void budget_print_json(const struct budget *b, const struct ram_plan *plan)
{
    const struct ram_self_check *c = &b->check;
    struct ram_plan_totals totals;

    if (!b->checked)
        return;
    ram_plan_totals(plan, &totals);
    printf(",\n\"self_check\": {\"tokens\": %llu, \"kld\": %.9g", (unsigned long long)c->tokens,
           c->kld);
    if (isfinite(totals.predicted_kld))
        printf(", \"predicted_kld\": %.9g", totals.predicted_kld);
    if (isfinite(c->kld_uniform))
        printf(", \"uniform\": \"%dg%d\", \"kld_uniform\": %.9g", c->uniform_bits, c->uniform_group,
               c->kld_uniform);
    printf(", \"fell_back\": %s}", b->fell_back ? "true" : "false");
}
