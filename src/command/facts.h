/* SPDX-License-Identifier: MIT */
/* Facts about models as tables: what `open`, `info` and `diff` print. */
#ifndef QDB_COMMAND_FACTS_H
#define QDB_COMMAND_FACTS_H

#include "base/table.h"
#include "session/session.h"

void facts_model(const struct session_model *m, struct result *out);
void facts_kv(const struct session_model *m, struct result *out);
/* Of all, or of those that the glob names when it is not empty. */
void facts_tensors(const struct session_model *m, struct str glob, struct result *out);
/* What other engines call the points; the glob is for their names or ours. */
void facts_names(const struct session_model *m, struct str glob, struct result *out);
void facts_points(const struct session_model *m, struct str glob, struct result *out);
void facts_tokenizer(const struct session_model *m, struct result *out);

/* One cell: a value of metadata, long arrays shortened; absent for NULL. */
void facts_kv_cell(const struct gguf *g, const struct gguf_kv *kv, struct table *t);
/* One cell: "q4_k 64x256". */
void facts_weight_cell(const struct weight *w, struct table *t);

#endif
