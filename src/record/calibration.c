/* calibration.c - see calibration.h. */
#include "record/calibration.h"

#include "base/textfile.h"

#include <string.h>
#include <sys/stat.h>

int ram_calibration_identify(const char *path, json_t **out, struct ram_err *err)
{
    struct ram_textfile file = {0};
    struct stat st;

    *out = NULL;
    if (!strcmp(path, "-") || (!stat(path, &st) && !S_ISREG(st.st_mode)))
        return ram_fail(err, RAM_EUSAGE,
                        "%s: the calibration text is read more than once, so it must be a file",
                        path);
    int status = ram_textfile_read(&file, path, RAM_MAX_CALIBRATION, RAM_TEXTFILE_PLAIN, NULL, err);
    if (!status) {
        *out = json_pack("{s:s, s:I, s:s}", "file", path, "bytes", (json_int_t)file.file_size,
                         "sha256", file.sha256);
        if (!*out) /* a name that is not UTF-8 */
            *out = json_pack("{s:s, s:I, s:s}", "file", "", "bytes", (json_int_t)file.file_size,
                             "sha256", file.sha256);
        status = *out ? RAM_OK : ram_fail(err, RAM_ENOMEM, "no memory for %s", path);
    }
    ram_textfile_release(&file);
    return status;
}
