/* SPDX-License-Identifier: MIT */
/* Large buffers on the disk: a file without a name, mapped, which the system writes out when it
 * wants the memory, and which is gone with the process. */
#ifndef QDB_FILE_TEMPORARY_H
#define QDB_FILE_TEMPORARY_H

#include <stddef.h>

#include "base/error.h"

/* As mem_alloc, but from a file in $TMPDIR, else /var/tmp, else /tmp: its pages do not count
 * against the memory budget (mem_mapped does). Zeroed; end with mem_free. The room is taken on the
 * disk at once. ST_IO when no folder has it; one that is itself kept in memory does not serve. */
NODISCARD enum st temporary_alloc(void **out, size_t bytes, const char *what, struct err *e);

#endif
