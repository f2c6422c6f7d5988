/* SPDX-License-Identifier: MIT */
/* What the guided tour says is so: each remark of its prose holds for what its commands print. */
#include "tests/harness/unit.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "command/scripts.h"
#include "models/demo.h"
#include "tests/harness/commands.h"

enum { MAX_STEPS = 40 };

/* The commands of the tour and what they gave, run once. */
static struct session *session;
static struct {
    char command[128];
    struct result out;
} steps[MAX_STEPS];
static int n_steps;

static void walk(void)
{
    if (!demo_find("sink") || !demo_find("add"))
        SKIP_CASE("the demo models are not built in");
    if (session)
        return;
    session = session_new();
    const char *line = script_find("tour")->text;
    for (; *line; line += strcspn(line, "\n") + 1) {
        const int n = (int)strcspn(line, "\n");
        if (!n || *line == '#')
            continue;
        assert_true(n_steps < MAX_STEPS);
        struct err e = ERR_INIT;
        snprintf(steps[n_steps].command, sizeof steps->command, "%.*s", n, line);
        struct result *out = &steps[n_steps++].out;
        assert_ok(command_run(session, str_of(line, (size_t)n), false, out, &e), &e);
    }
}

/* Table `name` of the i-th command that begins with `command`; the first table when name is NULL.
 */
static const struct table *table_of(const char *command, int i, const char *name)
{
    for (int s = 0; s < n_steps; s++) {
        if (strncmp(steps[s].command, command, strlen(command)) || i--)
            continue;
        for (size_t t = 0; t < steps[s].out.n_tables; t++)
            if (!name || !strcmp(steps[s].out.tables[t]->name, name))
                return steps[s].out.tables[t];
    }
    fail_msg("the tour has no `%s` with a table %s", command, name ? name : "");
    return NULL;
}

static const char *text(const struct table *t, size_t row, const char *column)
{
    return cell_at(t, row, column)->s;
}

/* Prose fits 80 columns and states no number of its own; what stands in backquotes is a command. */
static void prose_is_prose(void **state)
{
    (void)state;
    const char *p = script_find("tour")->text;
    int lines = 0;
    for (; *p; p += strcspn(p, "\n") + 1, lines++) {
        const size_t n = strcspn(p, "\n");
        bool quoted = false;
        assert_in_range(n, 1, *p == '#' ? 83 : 80); /* `#: ` is not shown */
        for (size_t i = 0; i < n && p[0] == '#'; i++) {
            quoted ^= p[i] == '`';
            if (!quoted && isdigit((unsigned char)p[i]))
                fail_msg("prose states a number: %.*s", (int)n, p);
        }
    }
    assert_in_range(lines, 20, 70);
}

/* "a small Llama", "the word that followed it the first time", "this one is certain" */
static void the_prompt_has_one_answer(void **state)
{
    (void)state;
    walk();
    const struct table *tokens = table_of("prompt", 0, NULL), *top = table_of("topk", 0, "topk");
    const char *name = text(tokens, tokens->n_rows - 1, "text"), *answer = NULL;
    for (size_t i = tokens->n_rows - 1; i-- > 0;)
        if (!strcmp(text(tokens, i, "text"), name))
            answer = text(tokens, i + 1, "text");
    assert_non_null(answer);
    assert_string_equal(text(top, 0, "text"), answer);
    assert_true(number_at(top, 0, "prob") > 0.9);
}

/* "Stop in the middle, go one step back, and go on." */
static void stops_and_steps_back(void **state)
{
    (void)state;
    walk();
    const struct table *stop = table_of("run", 0, "stop"),
                       *back = table_of("reverse-step", 0, "stop");
    assert_string_equal(text(stop, 0, "reason"), "breakpoint");
    assert_non_null(strstr(text(stop, 0, "position"), "ffn_down.out"));
    assert_string_equal(text(back, 0, "reason"), "step");
    assert_string_not_equal(text(back, 0, "position"), text(stop, 0, "position"));
    assert_string_equal(text(table_of("continue", 0, "stop"), 0, "reason"), "end");
}

/* "The logit lens asks every block": the last row is the answer, the first is far from it. */
static void the_lens_finds_the_answer(void **state)
{
    (void)state;
    walk();
    const struct table *lens = table_of("lens", 0, "lens"), *top = table_of("topk", 0, "topk");
    const size_t last = lens->n_rows - 1;
    assert_true(number_at(lens, 0, "kl") > 1 && number_at(lens, 0, "rank") > 1);
    assert_true(number_at(lens, last, "kl") == 0 && number_at(lens, last, "rank") == 1);
    assert_string_equal(text(lens, last, "top1"), text(top, 0, "text"));
    assert_true(number_at(lens, last, "prob") == number_at(top, 0, "prob"));
    size_t found = 0; /* and it comes up at one block: most of the way in one step */
    for (size_t i = 1; i < lens->n_rows; i++)
        found += number_at(lens, i - 1, "prob") < 0.1 && number_at(lens, i, "prob") > 0.9;
    assert_int_equal(found, 1);
}

/* "huge at the first token and nowhere else: a massive activation" */
static void channels_are_massive(void **state)
{
    (void)state;
    walk();
    const struct table *points = table_of("outliers", 0, "points");
    const struct table *channels = table_of("outliers", 0, "channels");
    const struct table *tokens = table_of("outliers", 0, "tokens");
    assert_true(number_at(points, 0, "ratio") > 50);
    for (size_t i = 0; i < points->n_rows; i++) {
        assert_true(number_at(points, i, "ratio") > 5 * number_at(points, i, "rest"));
        assert_true(number_at(points, i, "tok") == 0 && number_at(points, i, "persistent") == 0);
    }
    assert_true(channels->n_rows >= 2 && tokens->n_rows >= 2);
    for (size_t i = 0; i < channels->n_rows; i++) {
        assert_string_equal(text(channels, i, "kind"), "massive");
        assert_true(number_at(channels, i, "tok") == 0 && number_at(channels, i, "hits") == 1);
        assert_true(number_at(channels, i, "ratio") > 20 * number_at(channels, i, "rest"));
    }
    for (size_t i = 0; i < tokens->n_rows; i++)
        assert_true(number_at(tokens, i, "tok") == 0);
}

/* "A head that has nothing to do looks at the first token, whose value is next to nothing." */
static void heads_look_at_the_sink(void **state)
{
    (void)state;
    walk();
    const struct table *heads = table_of("entropy", 0, NULL);
    assert_int_equal(heads->n_rows, 8);
    for (size_t i = 0; i < heads->n_rows; i++)
        assert_true(number_at(heads, i, "sink") > 0.8 && number_at(heads, i, "value") < 0.2);
}

/* "all look at the first token, but the word after a name looks at the name" */
static void one_head_remembers_names(void **state)
{
    (void)state;
    walk();
    const struct table *tokens = table_of("prompt", 0, NULL), *heat = table_of("attn", 0, NULL);
    int after_names = 0;
    assert_int_equal(heat->n_rows, tokens->n_rows);
    for (size_t i = 0; i < heat->n_rows; i++) {
        size_t best = 0;
        for (size_t k = 1; k < heat->n_rows; k++)
            if (table_cell(heat, i, k + 1)->f > table_cell(heat, i, best + 1)->f)
                best = k;
        const char *before = i ? text(tokens, i - 1, "text") : "";
        const bool name = before[0] == ' ' && isupper((unsigned char)before[1]);
        assert_int_equal(best, name ? i - 1 : 0);
        assert_true(table_cell(heat, i, best + 1)->f > 0.8);
        after_names += name;
    }
    assert_true(after_names > 0);
}

/* "The other demo model adds numbers." */
static void the_other_one_adds(void **state)
{
    (void)state;
    walk();
    const struct table *task = table_of("task add", 0, "task"),
                       *carries = table_of("task add", 0, "carries");
    assert_true(number_at(task, 0, "sums") >= 200 && number_at(task, 0, "exact") >= 0.98);
    for (size_t i = 0; i < carries->n_rows; i++)
        assert_true(number_at(carries, i, "of") >= 33 && number_at(carries, i, "share") >= 0.9);
}

static void leaves_nothing(void **state)
{
    (void)state;
    if (session)
        session_free(session);
    for (int i = 0; i < n_steps; i++)
        result_free(&steps[i].out);
}

UNIT_MAIN(CASE(prose_is_prose), CASE(the_prompt_has_one_answer), CASE(stops_and_steps_back),
          CASE(the_lens_finds_the_answer), CASE(channels_are_massive), CASE(heads_look_at_the_sink),
          CASE(one_head_remembers_names), CASE(the_other_one_adds), CASE(leaves_nothing))
