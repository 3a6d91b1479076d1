/* entry_parse.h - one element of a manifest's "tensors". */
#ifndef RAM_RECORD_ENTRY_PARSE_H
#define RAM_RECORD_ENTRY_PARSE_H

#include "record/field.h"
#include "record/manifest.h"

/* Reads and checks the entry that the scan stands before. *entry is zeroed. */
bool ram_entry_scan(struct ram_scan *scan, struct ram_entry *entry);

#endif
