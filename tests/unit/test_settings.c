/* SPDX-License-Identifier: MIT */
/* Settings: parsing, ranges, names, listeners, and values that hold for a while. */
#include "tests/harness/unit.h"

#include <string.h>

#include "base/text.h"
#include "kernels/level.h"
#include "session/settings.h"

static void assert_value(const struct settings *s, enum setting_id id, const char *want)
{
    struct buf b = { 0 };
    settings_print(s, id, &b);
    assert_string_equal(buf_str(&b), want);
    buf_free(&b);
}

/* What is printed is what can be set again, for every setting. */
static void table_is_sound(void **state)
{
    (void)state;
    struct settings s;
    settings_init(&s);
    for (int id = 0; id < SETTING_COUNT; id++) {
        const struct setting *t = setting_info(id);
        struct buf b = { 0 };
        struct err e = ERR_INIT;
        enum setting_id found;
        assert_non_null(t->name);
        assert_true(*t->brief && t->brief[strlen(t->brief) - 1] != '.');
        assert_true(id == 0 || strcmp(setting_info(id - 1)->name, t->name) < 0);
        assert_ok(setting_find(str_from(t->name), &found, &e), &e);
        assert_int_equal(found, id);
        settings_print(&s, id, &b);
        assert_string_equal(buf_str(&b), t->initial);
        assert_ok(settings_set(&s, id, str_from(buf_str(&b)), &e), &e);
        assert_value(&s, id, t->initial);
        buf_clear(&b);
        setting_domain(id, &b);
        assert_true(b.n > 0);
        buf_free(&b);
    }
    settings_free(&s);
}

static void parses_each_type(void **state)
{
    (void)state;
    struct settings s;
    struct err e = ERR_INIT;
    settings_init(&s);
    assert_ok(settings_set(&s, SETTING_CONFIRM, STR("no"), &e), &e);
    assert_false(setting_on(&s, SETTING_CONFIRM));
    assert_fails(settings_set(&s, SETTING_CONFIRM, STR("maybe"), &e), ST_SYNTAX, &e);
    assert_ok(settings_set(&s, SETTING_PRECISION, STR("17"), &e), &e);
    assert_fails(settings_set(&s, SETTING_PRECISION, STR("18"), &e), ST_RANGE, &e);
    assert_fails(settings_set(&s, SETTING_PRECISION, STR("0"), &e), ST_RANGE, &e);
    assert_fails(settings_set(&s, SETTING_PRECISION, STR("x"), &e), ST_SYNTAX, &e);
    assert_fails(settings_set(&s, SETTING_PRECISION, STR(""), &e), ST_SYNTAX, &e);
    assert_value(&s, SETTING_PRECISION, "17");
    assert_ok(settings_set(&s, SETTING_OUTPUT, STR("j"), &e), &e);
    assert_int_equal(setting_int(&s, SETTING_OUTPUT), OUTPUT_JSON);
    assert_fails(settings_set(&s, SETTING_OUTPUT, STR("xml"), &e), ST_NOTFOUND, &e);
    assert_string_equal(e.hint, "text|json|csv|md");
    assert_fails(settings_set(&s, SETTING_OUTPUT, STR(""), &e), ST_NOTFOUND, &e);
    assert_ok(settings_set(&s, SETTING_MEM_BUDGET, STR("1.5G"), &e), &e);
    assert_value(&s, SETTING_MEM_BUDGET, "1536M");
    assert_ok(settings_set(&s, SETTING_MEM_BUDGET, STR("1000"), &e), &e);
    assert_value(&s, SETTING_MEM_BUDGET, "1000");
    assert_ok(settings_set(&s, SETTING_PROMPT, STR("> "), &e), &e);
    assert_string_equal(setting_text(&s, SETTING_PROMPT), "> ");
    settings_free(&s);
}

static void ambiguous_choices_are_refused(void **state)
{
    (void)state;
    struct settings s;
    struct err e = ERR_INIT;
    settings_init(&s);
    assert_fails(settings_set(&s, SETTING_COLOR, STR("a"), &e), ST_SYNTAX, &e);
    assert_ok(settings_set(&s, SETTING_COLOR, STR("al"), &e), &e);
    assert_int_equal(setting_int(&s, SETTING_COLOR), COLOR_ALWAYS);
    settings_free(&s);
}

static void names_may_be_short(void **state)
{
    (void)state;
    enum setting_id id;
    struct err e = ERR_INIT;
    assert_ok(setting_find(STR("wid"), &id, &e), &e);
    assert_int_equal(id, SETTING_WIDTH);
    assert_fails(setting_find(STR("he"), &id, &e), ST_NOTFOUND, &e);
    assert_string_equal(e.hint, "could be heat-scale, height");
    assert_fails(setting_find(STR("presicion"), &id, &e), ST_NOTFOUND, &e);
    assert_string_equal(e.hint, "did you mean `precision`?");
    assert_fails(setting_find(STR(""), &id, &e), ST_NOTFOUND, &e);
}

struct listener {
    int calls;
    int64_t seen;
    bool refuse;
    const struct settings *s;
};

static enum st listen(void *data, enum setting_id id, struct err *e)
{
    struct listener *l = data;
    l->calls++;
    l->seen = setting_int(l->s, id);
    return l->refuse ? st_fail(e, ST_STATE, "not now") : ST_OK;
}

static void listeners_may_refuse(void **state)
{
    (void)state;
    struct settings s;
    struct err e = ERR_INIT;
    settings_init(&s);
    struct listener l = { .s = &s };
    s.changed = listen;
    s.changed_data = &l;
    assert_ok(settings_set(&s, SETTING_WIDTH, STR("40"), &e), &e);
    assert_int_equal(l.seen, 40);
    l.refuse = true;
    assert_fails(settings_set(&s, SETTING_WIDTH, STR("50"), &e), ST_STATE, &e);
    assert_int_equal(l.seen, 50);
    assert_value(&s, SETTING_WIDTH, "40");
    assert_fails(settings_set(&s, SETTING_PROMPT, STR("new"), &e), ST_STATE, &e);
    assert_value(&s, SETTING_PROMPT, "(qdb%*) ");
    assert_fails(settings_set(&s, SETTING_WIDTH, STR("-1"), &e), ST_RANGE, &e);
    assert_int_equal(l.calls, 3);
    settings_free(&s);
}

static void holds_end_in_order(void **state)
{
    (void)state;
    struct settings s;
    struct err e = ERR_INIT;
    settings_init(&s);
    assert_ok(settings_hold(&s, SETTING_WIDTH, STR("1"), &e), &e);
    size_t mark = s.n_holds;
    assert_ok(settings_hold(&s, SETTING_WIDTH, STR("2"), &e), &e);
    assert_ok(settings_hold(&s, SETTING_PROMPT, STR("p"), &e), &e);
    assert_fails(settings_hold(&s, SETTING_WIDTH, STR("x"), &e), ST_SYNTAX, &e);
    settings_release(&s, mark);
    assert_value(&s, SETTING_WIDTH, "1");
    assert_value(&s, SETTING_PROMPT, "(qdb%*) ");
    settings_release(&s, 0);
    assert_value(&s, SETTING_WIDTH, "0");
    assert_ok(settings_hold(&s, SETTING_PROMPT, STR("left"), &e), &e); /* freed with the rest */
    settings_free(&s);
}

/* Every level that there is can be chosen. */
static void kernels_are_levels(void **state)
{
    (void)state;
    struct settings s;
    struct err e;
    settings_init(&s);
    for (size_t i = 0; level_at(i); i++)
        assert_ok(settings_set(&s, SETTING_KERNELS, str_from(level_at(i)->name), &e), &e);
    settings_free(&s);
}

UNIT_MAIN(CASE(table_is_sound), CASE(parses_each_type), CASE(ambiguous_choices_are_refused),
          CASE(names_may_be_short), CASE(listeners_may_refuse), CASE(holds_end_in_order),
          CASE(kernels_are_levels))
