/* SPDX-License-Identifier: MIT */
#include "models/registry.h"

#include <string.h>

static const struct architecture architectures[] = {
    { "llama",
      "Llama, Mistral, Mixtral and kin: RMSNorm, RoPE, grouped queries, gated feed-forward",
      graph_llama },
    { "qwen2", "Qwen 2: as llama, half-split RoPE, biases on queries, keys, values", graph_qwen2 },
    { "gpt2", "GPT-2: layer norm, learned positions, fused QKV, biases", graph_gpt2 },
    { "bert", "BERT and kin: encoder, learned positions, norms after the sums", graph_bert },
    { "mamba", "Mamba: state-space layers, no attention; described, not yet computed",
      graph_mamba },
    { "clip", "Vision transformer of a CLIP-like file; described, not yet computed", graph_vit },
};

const struct architecture *architecture_at(size_t i)
{
    return i < sizeof architectures / sizeof *architectures ? &architectures[i] : NULL;
}

enum st model_graph(const struct weights *w, struct graph **out, struct err *e)
{
    struct str arch = weights_string(w, "general.architecture", "");
    if (!arch.n)
        return st_fail(e, ST_UNSUPPORTED,
                       "the file does not say its architecture (general.architecture)");
    for (size_t i = 0; architecture_at(i); i++) {
        const struct architecture *a = architecture_at(i);
        if (!str_is(arch, a->name))
            continue;
        struct builder b;
        builder_begin(&b, w, a->name, e);
        a->build(&b);
        return builder_end(&b, out);
    }
    st_fail(e, ST_UNSUPPORTED, "no graph for the architecture `%.*s`",
            (int)(arch.n > 60 ? 60 : arch.n), arch.p);
    return st_hint(e, "the file can be looked at, but not run; `info arch` lists what runs");
}
