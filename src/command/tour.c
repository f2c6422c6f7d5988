/* SPDX-License-Identifier: MIT */
/* The guided tour: prose (`#:`) and commands on the demo models. What it says, tests check. */
#include "command/scripts.h"

const char script_tour[] = "#: qdb is a debugger for quantized models.\n"
                           "help\n";
