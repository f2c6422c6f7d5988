/* SPDX-License-Identifier: MIT */
/* Forward functions of the op table: each evaluates one node on the tokens of a span. */
#ifndef QDB_GRAPH_OP_FORWARD_H
#define QDB_GRAPH_OP_FORWARD_H

#include "graph/op.h"

void forward_embed(const struct op_call *c);
void forward_position(const struct op_call *c);
void forward_type(const struct op_call *c);
void forward_rms_norm(const struct op_call *c);
void forward_layer_norm(const struct op_call *c);
void forward_linear(const struct op_call *c);
void forward_slice(const struct op_call *c);
void forward_rope(const struct op_call *c);
void forward_score(const struct op_call *c);
void forward_softmax(const struct op_call *c);
void forward_mix(const struct op_call *c);
void forward_act(const struct op_call *c);
void forward_mul(const struct op_call *c);
void forward_add(const struct op_call *c);
void forward_scale(const struct op_call *c);

#endif
