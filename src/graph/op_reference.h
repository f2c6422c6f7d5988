/* SPDX-License-Identifier: MIT */
/* Definitions of the ops in double precision, written to be read: what tests compare with. */
#ifndef QDB_GRAPH_OP_REFERENCE_H
#define QDB_GRAPH_OP_REFERENCE_H

#include "graph/op.h"

void reference_embed(const struct op_call *c, double *out);
void reference_position(const struct op_call *c, double *out);
void reference_type(const struct op_call *c, double *out);
void reference_rms_norm(const struct op_call *c, double *out);
void reference_layer_norm(const struct op_call *c, double *out);
void reference_linear(const struct op_call *c, double *out);
void reference_slice(const struct op_call *c, double *out);
void reference_rope(const struct op_call *c, double *out);
void reference_score(const struct op_call *c, double *out);
void reference_softmax(const struct op_call *c, double *out);
void reference_mix(const struct op_call *c, double *out);
void reference_act(const struct op_call *c, double *out);
void reference_mul(const struct op_call *c, double *out);
void reference_add(const struct op_call *c, double *out);
void reference_scale(const struct op_call *c, double *out);

#endif
