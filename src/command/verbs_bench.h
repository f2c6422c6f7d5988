/* SPDX-License-Identifier: MIT */
/* The parts of `bench`: kernels and encoders; `bench model`, `bench toggle` and `bench catch`,
 * which run models. */
#ifndef QDB_COMMAND_VERBS_BENCH_H
#define QDB_COMMAND_VERBS_BENCH_H

#include "command/command.h"
#include "study/bench.h"

struct bench_effort {
    size_t bytes;
    double seconds;
};

/* `size S` or `seconds S` at word *i, which moves on to the last word used; ST_NOTFOUND: neither.
 */
NODISCARD enum st bench_effort_parse(const struct call *c, int *i, struct bench_effort *o,
                                     struct err *e);

enum { BENCH_FORMATS = 256 }; /* at most */

/* Marks in chosen[BENCH_FORMATS] the formats that word i names, letter case ignored ("Q4_K",
 * "iq*"), of those that `missing` has nothing against. ST_NOTFOUND: there is none; ST_UNSUPPORTED,
 * with what `missing` says: one that it refuses. */
NODISCARD enum st bench_formats_parse(const struct call *c, int i,
                                      const char *(*missing)(enum format), bool *chosen,
                                      struct err *e);

/* What is to be measured; threads BENCH_AS_SET and mode COMPUTE__COUNT: as the settings say. */
enum { BENCH_AS_SET = -1 };
struct bench_wanted {
    struct bench_model what;
    int64_t threads; /* 0: one per core */
    enum compute mode;
};

/* The words from `first` on: of "-p N -n N -r N -t N -c MODE" the flags that `accepts` holds, which
 * says in words what is expected. */
NODISCARD enum st bench_parse(const struct call *c, int first, const char *accepts,
                              struct bench_wanted *w, struct err *e);

/* The model to measure: that of a file at word 1, which the session does not get to know, else the
 * active one. */
struct bench_subject {
    struct model *model;
    struct model *own; /* of a file; NULL: the active model */
    double open;       /* seconds it took to open the file, NAN without */
};
bool bench_names_file(const struct call *c);
NODISCARD enum st bench_subject_open(struct session *s, const struct call *c,
                                     struct bench_subject *out, struct err *e);
void bench_subject_close(struct bench_subject *b);

enum st run_bench_encode(struct session *s, const struct call *c, struct result *out,
                         struct err *e);
enum st run_bench_model(struct session *s, const struct call *c, struct result *out, struct err *e);
enum st run_bench_toggle(struct session *s, const struct call *c, struct result *out,
                         struct err *e);
enum st run_bench_catch(struct session *s, const struct call *c, struct result *out, struct err *e);

#endif
