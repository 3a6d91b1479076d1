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
    /* [room, heads of keys x dimensions]; of a layer with a delta rule its state and the last
     * inputs of its convolution, whatever the room is */
    float *k, *v;
    size_t n, room; /* positions; room 0: nothing is allocated */
};

#endif
