/* SPDX-License-Identifier: MIT */
/* What other verbs need of those that measure. */
#ifndef QDB_COMMAND_VERBS_KL_H
#define QDB_COMMAND_VERBS_KL_H

#include "command/command.h"
#include "session/overlap.h"
#include "study/agreement.h"
#include "study/base_kl.h"

/* Count a look at the half `check` of the evaluation set beside this reference, and say so; none
 * where no segment was seen. */
void measure_looked(struct session *s, int64_t segments, const struct session_model *reference,
                    struct result *out);
/* ST_STATE where the evaluation set has no half `check`. */
NODISCARD enum st measure_need_check(const struct session *s, struct err *e);
/* Warn where the calibration text of `who` overlaps with the evaluation set. */
void overlap_note(const struct overlap *x, const char *who, struct result *out);
/* `kl base FILE` */
NODISCARD enum st kl_base(struct session *s, const struct call *c, struct result *out,
                          struct err *e);

/* Tables `agreement` and `confidence`; `kl_compat`. */
void show_agreement(const struct agreement *a, struct result *out);
void show_base_divergence(const struct base_divergence *d, struct result *out);

#endif
