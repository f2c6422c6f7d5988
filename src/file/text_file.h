/* SPDX-License-Identifier: MIT */
/* Text files: scripts, prompts and the like read whole and bounded; results written. */
#ifndef QDB_FILE_TEXT_FILE_H
#define QDB_FILE_TEXT_FILE_H

#include <stdbool.h>
#include <stdio.h>

#include "base/error.h"
#include "base/text.h"

/* Append the contents of a regular file or pipe of at most `most` bytes. A leading `~/` is the home
 * folder; a byte order mark in front is left out. ST_SYNTAX for a file with a byte 0, which no text
 * has. */
NODISCARD enum st text_file_read(const char *path, size_t most, struct buf *out, struct err *e);
/* Append, or replace: whole or not at all. */
NODISCARD enum st text_file_write(const char *path, bool append, struct str text, struct err *e);
/* Open for appending; the caller closes. */
NODISCARD enum st text_file_append(const char *path, FILE **out, struct err *e);
/* Make the folders above `path` that are missing; failures show when the file is opened. */
void text_file_folders(const char *path);

#endif
