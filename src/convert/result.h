/* result.h - what came of a module that was written. */
#ifndef RAM_CONVERT_RESULT_H
#define RAM_CONVERT_RESULT_H

#include "base/checksum.h"
#include "codec/form.h"

struct ram_module_result {
    double squared_error;                     /* of what a reader will see, against the weights */
    double squared;                           /* of the weights */
    struct ram_checksum sums[RAM_MAX_PLANES]; /* of its tensors */
};

#endif
