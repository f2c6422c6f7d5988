// SPDX-License-Identifier: MIT
// Writes every named activation of a prompt that goes through llama.cpp as NAME.npy, the last one of
// each name, in float32: what its graph callback sees, without flash attention, K and V in float32.
//
//     c++ -O2 -std=c++17 -I LLAMA/include -I LLAMA/ggml/include dump_llama_cpp.cpp ... libllama ...
//     dump_llama_cpp MODEL.gguf FOLDER ID,ID,...
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "ggml-backend.h"
#include "ggml.h"
#include "llama.h"

static std::string folder;

static float element(const ggml_tensor *t, const char *p)
{
    if (t->type == GGML_TYPE_F32)
        return *reinterpret_cast<const float *>(p);
    return ggml_fp16_to_fp32(*reinterpret_cast<const ggml_fp16_t *>(p));
}

// Strides are followed: views and permuted tensors are written in the order of their axes.
static void write_npy(const ggml_tensor *t, const std::vector<char> &data)
{
    std::string shape;
    int rank = 4;
    while (rank > 1 && t->ne[rank - 1] == 1)
        rank--;
    for (int d = rank - 1; d >= 0; d--)
        shape += std::to_string(t->ne[d]) + ", ";
    std::string head = "{'descr': '<f4', 'fortran_order': False, 'shape': (" + shape + "), }";
    while ((10 + head.size() + 1) % 64)
        head += ' ';
    head += '\n';
    FILE *f = fopen((folder + "/" + t->name + ".npy").c_str(), "wb");
    if (!f)
        return;
    const uint16_t n = static_cast<uint16_t>(head.size());
    fwrite("\x93NUMPY\1\0", 1, 8, f);
    fwrite(&n, 2, 1, f);
    fwrite(head.data(), 1, head.size(), f);
    for (int64_t l = 0; l < t->ne[3]; l++)
        for (int64_t k = 0; k < t->ne[2]; k++)
            for (int64_t j = 0; j < t->ne[1]; j++)
                for (int64_t i = 0; i < t->ne[0]; i++) {
                    const float x = element(t, data.data() + i * t->nb[0] + j * t->nb[1]
                                                   + k * t->nb[2] + l * t->nb[3]);
                    fwrite(&x, sizeof x, 1, f);
                }
    fclose(f);
}

static bool callback(ggml_tensor *t, bool ask, void *)
{
    const bool named = t->name[0] && !strpbrk(t->name, " (/") && strncmp(t->name, "node_", 5);
    const bool plain = t->type == GGML_TYPE_F32 || t->type == GGML_TYPE_F16;
    if (ask || !named || !plain || strstr(t->name, "cache_"))
        return true;
    std::vector<char> data(ggml_nbytes(t));
    ggml_backend_tensor_get(t, data.data(), 0, data.size());
    write_npy(t, data);
    return true;
}

int main(int argc, char **argv)
{
    if (argc != 4)
        return 2;
    folder = argv[2];
    std::vector<llama_token> ids;
    for (char *p = argv[3]; *p; p += *p == ',')
        ids.push_back(static_cast<llama_token>(strtol(p, &p, 10)));
    llama_log_set([](ggml_log_level, const char *, void *) {}, nullptr);
    llama_backend_init();
    llama_model *model = llama_model_load_from_file(argv[1], llama_model_default_params());
    if (!model)
        return 1;
    llama_context_params p = llama_context_default_params();
    p.n_ctx = 64;
    p.n_threads = p.n_threads_batch = 1;
    p.type_k = p.type_v = GGML_TYPE_F32;
    p.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_DISABLED;
    p.cb_eval = callback;
    llama_context *context = llama_init_from_model(model, p);
    if (!context)
        return 1;
    llama_batch batch = llama_batch_init(static_cast<int32_t>(ids.size()), 0, 1);
    for (size_t i = 0; i < ids.size(); i++) {
        batch.token[i] = ids[i];
        batch.pos[i] = static_cast<llama_pos>(i);
        batch.n_seq_id[i] = 1;
        batch.seq_id[i][0] = 0;
        batch.logits[i] = 1;
        batch.n_tokens++;
    }
    return llama_decode(context, batch) ? 1 : 0;
}
