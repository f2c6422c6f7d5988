/* SPDX-License-Identifier: MIT */
/* qdb: a debugger for quantized models. Options, batch mode, exit status. */
#include "config.h"

#include <stdio.h>

int main(void)
{
    puts(PACKAGE_STRING);
    return 0;
}
