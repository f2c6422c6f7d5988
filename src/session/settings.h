/* SPDX-License-Identifier: MIT */
/* Settings: ONE table of what can be set; `set`, `show`, `help set`, completion, the rc file and
 * the manual come from it. */
#ifndef QDB_SESSION_SETTINGS_H
#define QDB_SESSION_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/text.h"
#include "kernels/matrix.h" /* enum compute: the choices of `compute` */

enum setting_id {
    SETTING_COLOR,
    SETTING_COMPUTE,
    SETTING_CONFIRM,
    SETTING_ELEMENTS,
    SETTING_GLYPHS,
    SETTING_HEAT_SCALE,
    SETTING_HEIGHT,
    SETTING_HISTORY_SIZE,
    SETTING_KERNELS,
    SETTING_LEVEL,
    SETTING_MAX_COMPLETIONS,
    SETTING_MEM_BUDGET,
    SETTING_OUTPUT,
    SETTING_PAGINATION,
    SETTING_PRECISION,
    SETTING_PROGRESS,
    SETTING_PROMPT,
    SETTING_RECORD,
    SETTING_SEED,
    SETTING_SPAN,
    SETTING_THREADS,
    SETTING_WIDTH,
    SETTING_COUNT
};

enum setting_type { TYPE_BOOL, TYPE_INT, TYPE_CHOICE, TYPE_SIZE, TYPE_TEXT };

/* The value of a choice is its index in the list of choices; these enums follow the table. */
enum color_choice { COLOR_AUTO, COLOR_ALWAYS, COLOR_NEVER };
enum glyphs_choice { GLYPHS_AUTO, GLYPHS_HALF, GLYPHS_ASCII };
enum heat_choice { HEAT_LIN, HEAT_LOG, HEAT_RANK };
enum level_choice { LEVEL_NODE, LEVEL_SUB, LEVEL_BLOCK, LEVEL_SPAN };
enum output_choice { OUTPUT_TEXT, OUTPUT_JSON, OUTPUT_CSV, OUTPUT_MD };
enum progress_choice { PROGRESS_AUTO, PROGRESS_ALWAYS, PROGRESS_NEVER };

struct setting {
    const char *name;
    enum setting_type type;
    const char *initial; /* as a user would write it */
    int64_t lo, hi;      /* TYPE_INT */
    const char *choices; /* TYPE_CHOICE: "a|b|c" */
    const char *zero;    /* what 0 means, "" if nothing special: TYPE_INT, TYPE_SIZE */
    const char *brief;   /* one line */
    const char *help;    /* a paragraph, may be "" */
};

struct setting_value {
    int64_t i; /* bool, int, index of the choice, bytes */
    char *s;   /* TYPE_TEXT, owned */
};

/* A value that a hold covers. */
struct setting_hold {
    enum setting_id id;
    char *text;
};

struct settings {
    struct setting_value values[SETTING_COUNT];
    struct setting_hold *holds; /* the latest last */
    size_t n_holds, cap_holds;
    /* Called after a value was stored, so that whoever depends on it can follow. An error takes the
     * change back. NULL: nobody listens. */
    enum st (*changed)(void *data, enum setting_id id, struct err *e);
    void *changed_data;
};

void settings_init(struct settings *s); /* initial values; changed is left NULL */
void settings_free(struct settings *s);

const struct setting *setting_info(enum setting_id id);
/* Exact name or unique prefix; else ST_NOTFOUND with candidates or "did you mean". */
NODISCARD enum st setting_find(struct str name, enum setting_id *out, struct err *e);
/* Parse, check the range, store, tell `changed`. On error the old value stays. Bool takes on off
 * yes no true false 1 0; a choice takes a unique prefix. */
NODISCARD enum st settings_set(struct settings *s, enum setting_id id, struct str value,
                               struct err *e);
/* Set for a while: settings_release() puts back, latest first, what was held since there were
 * `mark` holds (n_holds at that time). */
NODISCARD enum st settings_hold(struct settings *s, enum setting_id id, struct str value,
                                struct err *e);
void settings_release(struct settings *s, size_t mark);
/* Append the value as settings_set() reads it. */
void settings_print(const struct settings *s, enum setting_id id, struct buf *out);
/* Append what may be written: "on|off", "0..1024", "exact|native|fast". */
void setting_domain(enum setting_id id, struct buf *out);

static inline int64_t setting_int(const struct settings *s, enum setting_id id)
{
    return s->values[id].i;
}
static inline bool setting_on(const struct settings *s, enum setting_id id)
{
    return s->values[id].i != 0;
}
static inline const char *setting_text(const struct settings *s, enum setting_id id)
{
    return s->values[id].s ? s->values[id].s : "";
}

#endif
