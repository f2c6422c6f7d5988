/* SPDX-License-Identifier: MIT */
/* Command lines: words, quotes, operators, names of verbs, carets, and the tables of verbs. */
#include "tests/harness/unit.h"

#include <stdlib.h>
#include <string.h>

#include "command/command.h"
#include "command/glossary.h"
#include "command/help.h"
#include "session/session.h"

/* The words of a command line, joined with `|`. */
static char *words_of(const char *line)
{
    struct call c;
    struct buf store = { 0 }, b = { 0 };
    struct err e = ERR_INIT;
    assert_ok(command_parse(str_from(line), &c, &store, &e), &e);
    for (int i = 0; i < c.n_words; i++) {
        if (i)
            buf_addc(&b, '|');
        buf_add(&b, c.words[i].text.p, c.words[i].text.n);
    }
    buf_free(&store);
    return buf_take(&b);
}

static void assert_words(const char *line, const char *want)
{
    char *got = words_of(line);
    assert_string_equal(got, want);
    free(got);
}

static void cuts_words(void **state)
{
    (void)state;
    assert_words("echo", "");
    assert_words("  echo  a\tb  ", "a|b");
    assert_words("echo \"a b\" 'c d' \"\"", "a b|c d|");
    assert_words("echo \"n\\nt\\tq\\\"b\\\\x\\x41u\\u{e9}\"", "n\nt\tq\"b\\xAu\xc3\xa9");
    assert_words("echo 'a\\n\"'", "a\\n\"");
    assert_words("echo don't worry", "don't|worry");
    assert_words("echo blk.0.attn_q.out[tok=-1, head=3] x", "blk.0.attn_q.out[tok=-1, head=3]|x");
    assert_words("echo a[tok=\"two words\", head=0]", "a[tok=\"two words\", head=0]");
    assert_words("echo blk.{0, 1}.out[chan=top8( absmax )]", "blk.{0, 1}.out[chan=top8( absmax )]");
    assert_words("echo prompt=\"a b\"", "prompt=\"a b\"");
    assert_words("echo (a b", "(a b");
    assert_words("echo a) b", "a)|b");
}

static void assert_caret(const char *line, enum st st, int column, int length)
{
    struct call c;
    struct buf store = { 0 };
    struct err e = ERR_INIT;
    assert_fails(command_parse(str_from(line), &c, &store, &e), st, &e);
    assert_int_equal(e.column, column);
    assert_int_equal(e.length, length);
    buf_free(&store);
}

static void points_at_what_is_wrong(void **state)
{
    (void)state;
    assert_caret("ecoh a", ST_NOTFOUND, 0, 4);
    assert_caret("  brek", ST_NOTFOUND, 2, 4);
    assert_caret("echo ok \"open", ST_SYNTAX, 8, 5);
    assert_caret("echo 'open", ST_SYNTAX, 5, 5);
    assert_caret("echo \"a\\qb\"", ST_SYNTAX, 7, 2);
    assert_caret("echo \"a\\x4\"", ST_SYNTAX, 7, 2);
    assert_caret("echo \"a\\u{110000}\"", ST_SYNTAX, 7, 2);
    assert_caret("echo \"a\"b", ST_SYNTAX, 8, 1);
    assert_caret("$x =", ST_SYNTAX, 4, 1);
    assert_caret("", ST_NOTFOUND, 0, 1);
}

static void refuses_too_many_words(void **state)
{
    (void)state;
    struct buf b = { 0 };
    buf_adds(&b, "echo");
    for (int i = 0; i < CALL_MAX_WORDS; i++)
        buf_adds(&b, " w");
    char *ok = words_of(b.p);
    assert_int_equal(strlen(ok), 2 * CALL_MAX_WORDS - 1);
    free(ok);
    buf_adds(&b, " w");
    assert_caret(b.p, ST_RANGE, (int)b.n - 1, 1);
    buf_free(&b);
}

static void splits_verb_and_format(void **state)
{
    (void)state;
    struct call c;
    struct buf store = { 0 };
    struct err e = ERR_INIT;
    assert_ok(command_parse(STR("show/32q  width  color "), &c, &store, &e), &e);
    assert_string_equal(c.verb->name, "show");
    assert_true(str_is(c.format, "32q"));
    assert_true(str_is(c.rest, "width  color"));
    assert_int_equal(c.rest_column, 10);
    assert_int_equal(c.words[1].column, 17);
    assert_int_equal(c.words[1].length, 5);
    assert_ok(command_parse(STR("!ls/x | wc ; 'a"), &c, &store, &e), &e);
    assert_string_equal(c.verb->name, "shell");
    assert_true(str_is(c.rest, "ls/x | wc ; 'a"));
    assert_int_equal(c.n_words, 0);
    buf_free(&store);
}

static void knows_assignments(void **state)
{
    (void)state;
    struct call c;
    struct buf store = { 0 };
    struct err e = ERR_INIT;
    assert_ok(command_parse(STR(" $a_1= 2*x "), &c, &store, &e), &e);
    assert_null(c.verb);
    assert_true(str_is(c.assign, "a_1"));
    assert_true(str_is(c.rest, "2*x"));
    assert_int_equal(c.rest_column, 7);
    assert_ok(command_parse(STR("show = 1"), &c, &store, &e), &e);
    assert_true(str_is(c.assign, "show"));
    assert_ok(command_parse(STR("echo a = b"), &c, &store, &e), &e);
    assert_non_null(c.verb);
    assert_fails(command_parse(STR("zz == b"), &c, &store, &e), ST_NOTFOUND, &e);
    buf_free(&store);
}

static void resolves_verbs(void **state)
{
    (void)state;
    const struct verb *v;
    struct err e = ERR_INIT;
    assert_ok(verb_find(STR("help"), &v, &e), &e);
    assert_string_equal(v->name, "help");
    assert_ok(verb_find(STR("?"), &v, &e), &e);
    assert_string_equal(v->name, "help");
    assert_ok(verb_find(STR("apr"), &v, &e), &e);
    assert_string_equal(v->name, "apropos");
    assert_ok(verb_find(STR("q"), &v, &e), &e);
    assert_string_equal(v->name, "quit");
    assert_fails(verb_find(STR("qui"), &v, &e), ST_NOTFOUND, &e); /* must be written whole */
    assert_non_null(strstr(e.hint, "quit"));
}

static void suggests(void **state)
{
    (void)state;
    const struct verb *v;
    struct err e = ERR_INIT;
    assert_fails(verb_find(STR("aproops"), &v, &e), ST_NOTFOUND, &e);
    assert_string_equal(e.hint, "did you mean `apropos`?");
    assert_fails(verb_find(STR("e"), &v, &e), ST_NOTFOUND, &e);
    assert_non_null(strstr(e.msg, "ambiguous"));
    assert_non_null(strstr(e.hint, "explain"));
    assert_fails(verb_find(STR("]"), &v, &e), ST_NOTFOUND, &e);
    assert_string_equal(e.hint, "`help` lists the commands");
    assert_fails(verb_find(STR("zzzzzzzz"), &v, &e), ST_NOTFOUND, &e);
    assert_string_equal(e.hint, "`help` lists the commands");
    assert_fails(verb_find(STR("blk.0.out"), &v, &e), ST_NOTFOUND, &e);
    assert_non_null(strstr(e.hint, "print blk.0.out"));
}

/* The pieces of a line as "command>target" joined with `/`. */
static void assert_pieces(const char *line, const char *want)
{
    struct buf b = { 0 }, store = { 0 };
    struct err e = ERR_INIT;
    struct piece p;
    static const char *const signs[] = { "", "|", ">", ">>" };
    for (size_t at = 0;;) {
        assert_ok(command_next(NULL, str_from(line), &at, &p, &store, &e), &e);
        if (!p.command.n)
            break;
        assert_memory_equal(line + p.column, p.command.p, p.command.n);
        buf_printf(&b, "%s%.*s%s%.*s", b.n ? "/" : "", (int)p.command.n, p.command.p, signs[p.to],
                   (int)p.target.n, p.target.p);
    }
    assert_string_equal(buf_str(&b), want);
    buf_free(&b);
    buf_free(&store);
}

static void cuts_lines(void **state)
{
    (void)state;
    assert_pieces("", "");
    assert_pieces("  # only a comment", "");
    assert_pieces(" ; ;; echo a ; show;", "echo a/show");
    assert_pieces("echo \"a;b\" 'c # d' # e ; f", "echo \"a;b\" 'c # d'");
    assert_pieces("echo a#b", "echo a#b");
    assert_pieces("show | grep 'a;b' > c", "show|grep 'a;b' > c");
    assert_pieces("show > a.txt; show >> \"b c\"", "show>a.txt/show>>b c");
    assert_pieces("show>a", "show>a");
    assert_pieces("!echo a; ls | wc # x", "!echo a; ls | wc # x");
    assert_pieces("echo a[tok=\"x | y\"] | cat", "echo a[tok=\"x | y\"]|cat");
    assert_pieces("with width=3 -- echo a > b", "with width=3 -- echo a>b");
    assert_pieces("with width=3 -- !ls | wc; date", "with width=3 -- !ls | wc; date");
    assert_pieces("pipe with a=1 -- echo b | cat; c", "pipe with a=1 -- echo b|cat; c");
    assert_pieces("with", "with");
    assert_pieces("with --", "with --");
}

static void refuses_half_operators(void **state)
{
    (void)state;
    static const struct {
        const char *line;
        int column;
    } cases[] = { { "show |", 5 },        { "show | ", 5 },    { "show >", 5 },
                  { "show > ; echo", 5 }, { "show > a b", 9 }, { "show > 'a", 7 } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buf store = { 0 };
        struct err e = ERR_INIT;
        struct piece p;
        size_t at = 0;
        assert_fails(command_next(NULL, str_from(cases[i].line), &at, &p, &store, &e), ST_SYNTAX,
                     &e);
        assert_int_equal(e.column, cases[i].column);
        buf_free(&store);
    }
}

static void quotes_are_read_back(void **state)
{
    (void)state;
    static const char *const words[] = { "plain",        "",           "two words",
                                         "a\"b",         "a'b",        "\\",
                                         "\n\x01\xff",   "a;b",        "[x",
                                         "\xe2\x80\xae", "caf\xc3\xa9" };
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        struct buf line = { 0 };
        buf_adds(&line, "echo ");
        command_quote(&line, str_from(words[i]));
        assert_words(line.p, words[i]);
        buf_free(&line);
    }
}

static enum st run(struct session *s, const char *line, struct result *r, struct err *e)
{
    *r = (struct result){ 0 };
    return command_run(s, str_from(line), false, r, e);
}

static void aliases_stand_for_commands(void **state)
{
    (void)state;
    struct session *s = session_new();
    struct result r;
    struct err e = ERR_INIT;
    assert_ok(run(s, "alias digits = set precision", &r, &e), &e);
    assert_ok(run(s, "alias d9 = digits 9", &r, &e), &e);
    assert_ok(run(s, "d9", &r, &e), &e);
    assert_int_equal(setting_int(&s->settings, SETTING_PRECISION), 9);
    assert_ok(run(s, "digits 7", &r, &e), &e);
    assert_int_equal(setting_int(&s->settings, SETTING_PRECISION), 7);
    assert_fails(run(s, "alias set = show", &r, &e), ST_STATE, &e);
    assert_fails(run(s, "alias aa = nothing", &r, &e), ST_NOTFOUND, &e);
    assert_int_equal(e.column, 11);
    assert_ok(run(s, "alias bb = echo", &r, &e), &e);
    assert_ok(run(s, "alias aa = bb", &r, &e), &e);
    assert_ok(run(s, "alias bb = aa", &r, &e), &e);
    assert_fails(run(s, "aa", &r, &e), ST_STATE, &e); /* a circle ends */
    assert_ok(run(s, "alias digits =", &r, &e), &e);
    assert_fails(run(s, "digits 7", &r, &e), ST_NOTFOUND, &e);
    session_free(s);
}

static void with_puts_settings_back(void **state)
{
    (void)state;
    struct session *s = session_new();
    struct result r;
    struct err e = ERR_INIT;
    assert_ok(run(s, "with precision=9 width=33 -- show precision", &r, &e), &e);
    assert_string_equal(table_cell(r.tables[0], 0, 1)->s, "9");
    assert_int_equal(setting_int(&s->settings, SETTING_WIDTH), 33); /* until it has been shown */
    settings_release(&s->settings, 0);
    assert_int_equal(setting_int(&s->settings, SETTING_WIDTH), 0);
    assert_int_equal(setting_int(&s->settings, SETTING_PRECISION), 5);
    result_free(&r);
    assert_fails(run(s, "with precision=99 -- show", &r, &e), ST_RANGE, &e);
    assert_int_equal(e.column, 15);
    assert_fails(run(s, "with precision=9 -- shwo", &r, &e), ST_NOTFOUND, &e);
    assert_int_equal(e.column, 20);
    assert_fails(run(s, "with precision=9", &r, &e), ST_SYNTAX, &e);
    session_free(s);
}

/* Fields that help, completion and the manual rely on, for every verb there is. */
static void tables_are_sound(void **state)
{
    (void)state;
    for (size_t c = 0; verb_class_at(c); c++) /* `help TITLE` is help for the class */
        assert_false(verb_is_fixed(str_from(verb_class_at(c)->title)));
    for (size_t i = 0; i < verb_count(); i++) {
        const struct verb *v = verb_at(i);
        print_message("# %s\n", v->name);
        bool known = false;
        for (size_t c = 0; verb_class_at(c); c++)
            known = known || !strcmp(verb_class_at(c)->name, v->class);
        assert_true(known);
        assert_non_null(v->run);
        assert_true(v->brief && *v->brief && v->brief[strlen(v->brief) - 1] != '.');
        assert_true(strlen(v->brief) <= 78);
        const struct verb *other;
        struct err e = ERR_INIT;
        for (const char *p = v->alias; p && *p;) {
            size_t n = strcspn(p, " ");
            assert_ok(verb_find(str_of(p, n), &other, &e), &e);
            assert_ptr_equal(other, v); /* nobody else has that alias or name */
            p += n + (p[n] == ' ');
        }
        assert_ok(verb_find(str_from(v->name), &other, &e), &e);
        assert_ptr_equal(other, v);
    }
}

/* Every example is at least a command line of the verbs that exist. */
static void examples_parse(void **state)
{
    (void)state;
    struct session *s = session_new();
    struct buf store = { 0 }, text = { 0 };
    for (size_t i = 0; i < verb_count(); i++) {
        for (const char *p = verb_at(i)->examples; p && *p;) {
            size_t n = strcspn(p, "\n"), at = 0;
            print_message("# %.*s\n", (int)n, p);
            struct piece piece;
            struct err e = ERR_INIT;
            assert_ok(command_next(s, str_of(p, n), &at, &piece, &store, &e), &e);
            assert_true(piece.command.n > 0);
            struct call c;
            if (!str_starts(piece.command, "digits")) /* an alias that an example makes */
                assert_ok(command_parse(piece.command, &c, &text, &e), &e);
            p += n + (p[n] == '\n');
        }
    }
    buf_free(&store);
    buf_free(&text);
    session_free(s);
}

static void words_are_explained(void **state)
{
    (void)state;
    const struct glossary_entry *g;
    for (size_t i = 0; (g = glossary_at(i)); i++) {
        assert_ptr_equal(glossary_find(str_from(g->word)), g);
        for (int j = 0; j < 3; j++)
            assert_true(g->lines[j] && g->lines[j][strlen(g->lines[j]) - 1] == '.');
        for (const char *p = g->also; p && *p;) {
            size_t n = strcspn(p, "|");
            const struct glossary_entry *found = glossary_find(str_of(p, n));
            if (found != g)
                fail_msg("`%.*s` of %s leads to %s", (int)n, p, g->word, found->word);
            p += n + (p[n] == '|');
        }
    }
    assert_ptr_equal(glossary_find(STR("Kv-Cache")), glossary_find(STR("kv cache")));
    assert_null(glossary_find(STR("no such word")));
    /* A statistic is defined once, in its own table. */
    for (size_t i = 0; i < statistic_count(); i++)
        assert_null(glossary_find(str_from(statistic_at(i)->name)));
    for (size_t i = 0; glossary_synonym(i); i++)
        assert_non_null(glossary_statistic(str_from(glossary_synonym(i))));
    assert_string_equal(glossary_statistic(STR("Perplexity"))->name, "ppl");
}

static void refuses_what_is_said_twice(void **state)
{
    (void)state;
    static const struct {
        const char *line;
        int column;
    } twice[] = { { "data text.txt tokens 80 tokens 160", 24 },
                  { "gen 4 seed 1 temp 1 seed 2", 20 },
                  { "imatrix collect text.txt ctx 4 ctx 8", 31 },
                  { "bisect by sub by weight", 14 },
                  { "hist 1 bins 3 log bins 4", 18 },
                  { "tokens -f a -f b", 12 } };
    struct session *s = session_new();
    for (size_t i = 0; i < sizeof twice / sizeof *twice; i++) {
        struct result r;
        struct err e = ERR_INIT;
        assert_fails(run(s, twice[i].line, &r, &e), ST_SYNTAX, &e);
        assert_non_null(strstr(e.msg, "said already"));
        assert_int_equal(e.column, twice[i].column);
        result_free(&r);
    }
    /* quoted, or behind a word, it is a text like others */
    static const char *const once[] = { "ppl ctx ctx 8", "tokens -f -f", "tokens \"-f\" -f x" };
    for (size_t i = 0; i < sizeof once / sizeof *once; i++) {
        struct result r;
        struct err e = ERR_INIT;
        assert_true(run(s, once[i], &r, &e) != ST_OK);
        assert_null(strstr(e.msg, "said already"));
        result_free(&r);
    }
    session_free(s);
}

UNIT_MAIN(CASE(cuts_words), CASE(points_at_what_is_wrong), CASE(refuses_too_many_words),
          CASE(splits_verb_and_format), CASE(knows_assignments), CASE(resolves_verbs),
          CASE(suggests), CASE(cuts_lines), CASE(refuses_half_operators),
          CASE(quotes_are_read_back), CASE(aliases_stand_for_commands),
          CASE(with_puts_settings_back), CASE(tables_are_sound), CASE(examples_parse),
          CASE(words_are_explained), CASE(refuses_what_is_said_twice))
