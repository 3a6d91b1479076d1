/*
 * analyze.h - the stage between a checkpoint and its manifest.
 *
 * survey.c says what there is, from headers and config.json alone. sweep.c reads the weights in
 * the order of the files and fills in what was measured; measure.c does that for one matrix, with
 * moment, recon, noise and spectrum; partial.c keeps what is finished, for a run that is cut short.
 *
 * Entries of a manifest and sources of a layout correspond one to one, by index.
 */
#ifndef RAM_ANALYZE_ANALYZE_H
#define RAM_ANALYZE_ANALYZE_H

#include "base/exec.h"
#include "format/layout.h"
#include "record/manifest.h"

/* The contract of ram_analyze; opts: not NULL. */
int ram_analyze_run(const struct ram_ckpt *ckpt, const struct ram_analyze_opts *opts,
                    const struct ram_exec *exec, struct ram_manifest **out, struct ram_err *err);

/* A manifest with every entry and nothing measured. */
int ram_survey_layout(const struct ram_ckpt *ckpt, const struct ram_layout *layout,
                      struct ram_manifest **out, struct ram_err *err);

/*
 * Measures every entry that is not skipped and writes the settings into the manifest. All other
 * floating weights that the output keeps are read too, to make sure that they are finite.
 * RAM_ENOMEM names the memory that is needed at least; what exec->store has of the same
 * settings is not measured again; RAM_EFORMAT names the first weight that is NaN or infinite.
 */
int ram_sweep(const struct ram_ckpt *ckpt, const struct ram_layout *layout,
              const struct ram_analyze_opts *opts, const struct ram_exec *exec,
              struct ram_manifest *manifest, struct ram_err *err);

#endif
