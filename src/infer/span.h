/* span.h - a sequence of tokens on its way through a model, and its keys and values if it grows. */
#ifndef RAM_INFER_SPAN_H
#define RAM_INFER_SPAN_H

#include <stddef.h>
#include <stdint.h>

#define RAM_NO_PARENT SIZE_MAX

struct ram_span {
    const uint32_t *tokens;
    size_t n;
    size_t parent; /* index of an earlier span without a parent of its own, or RAM_NO_PARENT.
                    * Children follow their parent directly. */
};

/* Keys and values of one layer of a sequence that grows. */
struct ram_kv {
    float *k, *v; /* [room, heads of keys x dimensions] */
    size_t n, room;
};

#endif
