/* SPDX-License-Identifier: MIT */
/* The list of expressions that are shown at each stop. */
#include "session/displays.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

const struct display *displays_add(struct displays *d, char letter, int64_t count, struct str text)
{
    x_grow(&d->list, &d->cap, d->n + 1, sizeof *d->list);
    struct display *one = &d->list[d->n++];
    *one = (struct display){ ++d->last, letter, count, x_strndup(text.p, text.n) };
    return one;
}

bool displays_delete(struct displays *d, int number)
{
    for (size_t i = 0; i < d->n; i++)
        if (d->list[i].number == number) {
            free(d->list[i].text);
            memmove(d->list + i, d->list + i + 1, (d->n - i - 1) * sizeof *d->list);
            d->n--;
            return true;
        }
    return false;
}

void displays_free(struct displays *d)
{
    for (size_t i = 0; i < d->n; i++)
        free(d->list[i].text);
    free(d->list);
    *d = (struct displays){ 0 };
}
