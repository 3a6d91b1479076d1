/* textfile.c - see textfile.h. POSIX only. */
#include "base/textfile.h"

#include "base/file.h"
#include "base/mem.h"
#include "base/utf8.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- what a file is when it is not text --------------------------------------------------- */

enum advice { UNPACK, COLUMNS, ENCODING, NONE };

static const struct magic {
    const char *name, *how; /* how: the command that makes text of it */
    size_t at, size;
    const char *bytes;
    enum advice advice;
    bool in_text; /* also where all bytes are those of a text */
} magics[] = {
    {"gzip-compressed data", "gunzip -k", 0, 2, "\x1f\x8b", UNPACK, false},
    {"bzip2-compressed data", "bunzip2 -k", 4, 6, "1AY&SY", UNPACK, false},
    {"xz-compressed data", "unxz -k", 0, 6, "\xfd\x37zXZ\0", UNPACK, false},
    {"zstd-compressed data", "unzstd", 0, 4, "\x28\xb5\x2f\xfd", UNPACK, false},
    {"lz4-compressed data", "unlz4", 0, 4, "\x04\x22\x4d\x18", UNPACK, false},
    {"a ZIP archive", "unzip", 0, 4, "PK\x03\x04", UNPACK, false},
    {"an empty ZIP archive", "unzip", 0, 4, "PK\x05\x06", UNPACK, false},
    {"a 7-Zip archive", "7z x", 0, 6, "7z\xbc\xaf\x27\x1c", UNPACK, false},
    {"a tar archive", "tar xf", 257, 5, "ustar", UNPACK, false},
    {"a Parquet file", "read_parquet", 0, 4, "PAR1", COLUMNS, false},
    {"an encrypted Parquet file", NULL, 0, 4, "PARE", NONE, false},
    {"an Arrow file", "read_feather", 0, 6, "ARROW1", COLUMNS, false},
    {"an Arrow stream", NULL, 0, 4, "\xff\xff\xff\xff", NONE, false},
    {"an Avro file", NULL, 0, 4, "Obj\x01", NONE, false},
    {"a PDF document", "pdftotext", 0, 5, "%PDF-", UNPACK, true},
    {"an SQLite database", NULL, 0, 16, "SQLite format 3", NONE, false},
    {"an HDF5 file", NULL, 0, 4, "\x89HDF", NONE, false},
    {"a NumPy array", NULL, 0, 6, "\x93NUMPY", NONE, false},
    {"a GGUF file", NULL, 0, 4, "GGUF", NONE, false},
    {"a PNG image", NULL, 0, 4, "\x89PNG", NONE, false},
    {"a JPEG image", NULL, 0, 3, "\xff\xd8\xff", NONE, false},
    {"an ELF program", NULL, 0, 4, "\x7f\x45LF", NONE, false},
    {"a Python pickle", NULL, 0, 2, "\x80\x02", NONE, false},
    {"a Python pickle", NULL, 0, 2, "\x80\x03", NONE, false},
    {"a Python pickle", NULL, 0, 2, "\x80\x04", NONE, false},
    {"a Python pickle", NULL, 0, 2, "\x80\x05", NONE, false},
    {"UTF-32 text", "UTF-32", 0, 4, "\xff\xfe\0\0", ENCODING, false},
    {"UTF-32 text", "UTF-32", 0, 4, "\0\0\xfe\xff", ENCODING, false},
    {"UTF-16 text", "UTF-16", 0, 2, "\xff\xfe", ENCODING, false},
    {"UTF-16 text", "UTF-16", 0, 2, "\xfe\xff", ENCODING, false},
};

static const struct magic *find_magic(const uint8_t *data, size_t size)
{
    for (size_t i = 0; i < sizeof magics / sizeof *magics; i++) {
        const struct magic *m = &magics[i];
        if (m->at + m->size <= size && !memcmp(data + m->at, m->bytes, m->size))
            return m;
    }
    return NULL;
}

/* safetensors has no magic: a length, and a header of JSON that long. */
static bool is_safetensors(const uint8_t *data, size_t size)
{
    return size > 10 && data[8] == '{' && data[9] == '"' && !data[5] && !data[6] && !data[7];
}

static int refuse_magic(const struct magic *magic, const char *where, enum ram_textfile_use use,
                        struct ram_err *err)
{
    const char *name = magic->name, *how = magic->how;

    switch (magic->advice) {
    case UNPACK:
        return ram_fail(err, RAM_EFORMAT, "%s: this is %s, not text; unpack it first: %s %s", where,
                        name, how, where);
    case COLUMNS:
        if (use == RAM_TEXTFILE_RECORDS)
            return ram_fail(err, RAM_EFORMAT,
                            "%s: this is %s, not text; write it as JSON lines first: python3 -c "
                            "'import pandas; pandas.%s(\"%s\").to_json(\"data.jsonl\", "
                            "orient=\"records\", lines=True)'",
                            where, name, how, where);
        return ram_fail(err, RAM_EFORMAT,
                        "%s: this is %s, not text; write its column of text to a file first: "
                        "python3 -c 'import pandas; open(\"data.txt\", \"w\").write(\"\".join("
                        "pandas.%s(\"%s\")[\"text\"]))'",
                        where, name, how, where);
    case ENCODING:
        return ram_fail(err, RAM_EFORMAT,
                        "%s: this is %s, expected UTF-8; convert it first: iconv -f %s -t UTF-8 %s "
                        ">data.txt",
                        where, name, how, where);
    case NONE:
        break;
    }
    return ram_fail(err, RAM_EFORMAT, "%s: this is %s, not text", where, name);
}

/* Text in UTF-16 or UTF-32 without a byte order mark has zeros at the same places of nearly every
 * four bytes. at: of the first zero. */
static int refuse_zero(const uint8_t *data, size_t size, size_t at, const char *where,
                       enum ram_textfile_use use, struct ram_err *err)
{
    static const char *const encodings[16] = {[1 | 4] = "UTF-16BE",
                                              [2 | 8] = "UTF-16LE",
                                              [1 | 2 | 4] = "UTF-32BE",
                                              [2 | 4 | 8] = "UTF-32LE"};
    const size_t n = size < 4096 ? size / 4 : 1024;
    size_t zeros[4] = {0};
    unsigned places = 0;

    for (size_t i = 0; i < 4 * n; i++)
        zeros[i % 4] += data[i] == 0;
    for (unsigned i = 0; i < 4; i++)
        places |= n && zeros[i] > n * 3 / 4 ? 1u << i : 0;
    const char *encoding = encodings[places];
    if (encoding)
        return ram_fail(err, RAM_EFORMAT,
                        "%s: this looks like %s, expected UTF-8; convert it first: iconv -f %s -t "
                        "UTF-8 %s >data.txt",
                        where, encoding, encoding, where);
    /* U+0000 is a character like any other to a tokenizer, but binary data is full of zeros. */
    if (use == RAM_TEXTFILE_VERBATIM && zeros[0] + zeros[1] + zeros[2] + zeros[3] <= n / 4)
        return RAM_OK;
    return ram_fail(err, RAM_EFORMAT, "%s: this is binary data, not text: byte %zu is zero", where,
                    at);
}

static int refuse_binary(const uint8_t *data, size_t size, const char *where,
                         enum ram_textfile_use use, struct ram_err *err)
{
    const uint8_t *zero = size ? memchr(data, 0, size) : NULL;
    const struct magic *magic = find_magic(data, size);

    if (ram_file_check_pointer(where, data, size, err))
        return err->status;
    /* Words like "GGUF" may begin a text, which has no zero and is UTF-8. */
    if (magic && (magic->in_text || zero || ram_utf8_valid(data, size) < size))
        return refuse_magic(magic, where, use, err);
    if (!zero)
        return RAM_OK;
    if (is_safetensors(data, size))
        return ram_fail(err, RAM_EFORMAT, "%s: this is a safetensors file, not text", where);
    return refuse_zero(data, size, (size_t)(zero - data), where, use, err);
}

static size_t line_of(const uint8_t *data, size_t at)
{
    size_t line = 1;

    for (size_t i = 0; i < at; i++)
        line += data[i] == '\n';
    return line;
}

/* at: the first byte that is not UTF-8. Where one byte in ten is not, the file is no text in
 * another encoding either. */
static int refuse_bytes(const uint8_t *data, size_t size, size_t at, const char *where,
                        struct ram_err *err)
{
    const size_t tried = size < 1 << 16 ? size : 1 << 16;

    if (ram_utf8_count_invalid(data, tried) > tried / 10)
        return ram_fail(err, RAM_EFORMAT,
                        "%s: this is binary data or text in another encoding, expected UTF-8: byte "
                        "%zu is 0x%02X",
                        where, at, data[at]);
    return ram_fail(err, RAM_EFORMAT,
                    "%s: line %zu: byte %zu of the file is 0x%02X, which is not UTF-8 there; if "
                    "the text is in another encoding, convert it first: iconv -f %s -t UTF-8 %s "
                    ">data.txt",
                    where, line_of(data, at), at, data[at], data[at] < 0xA0 ? "CP1252" : "LATIN1",
                    where);
}

/* ---- what is changed ---------------------------------------------------------------------- */

struct changes {
    bool mark;     /* a byte order mark was left out */
    size_t n_ends; /* "\r\n" and "\r" that became "\n" */
    size_t n_cut;  /* bytes of half a character at the end */
};

static void translate_line_ends(struct ram_textfile *file, struct changes *changes)
{
    char *to = memchr(file->text, '\r', file->size);
    const char *from = to, *end = file->text + file->size;

    if (!to)
        return;
    while (from < end) {
        if (*from == '\r') {
            changes->n_ends++;
            from += from + 1 < end && from[1] == '\n';
            *to++ = '\n';
            from++;
        } else {
            *to++ = *from++;
        }
    }
    *to = '\0';
    file->size = (size_t)(to - file->text);
}

static void tell_changes(const struct changes *changes, const char *where,
                         const struct ram_exec *exec)
{
    struct ram_buf line = {0};

    if (changes->mark)
        ram_buf_puts(&line, "a byte order mark was left out");
    if (changes->n_ends)
        ram_buf_printf(&line,
                       "%s%zu line end%s (CR LF or CR) %s read as LF, as in Python's text "
                       "mode",
                       line.size ? "; " : "", changes->n_ends, changes->n_ends == 1 ? "" : "s",
                       changes->n_ends == 1 ? "was" : "were");
    if (changes->n_cut)
        ram_buf_printf(&line, "%sthe file ends inside a character, which was left out",
                       line.size ? "; " : "");
    if (line.size && !line.failed)
        ram_exec_notice(exec, "%s: %s", where, line.data);
    ram_buf_release(&line);
}

static void tell_verbatim(const struct ram_textfile *file, bool mark, const char *where,
                          const struct ram_exec *exec)
{
    const uint8_t *data = (const uint8_t *)file->text;
    const size_t first = ram_utf8_valid(data, file->size);
    struct ram_buf line = {0};

    if (mark)
        ram_buf_printf(&line, "%s: begins with a byte order mark, which counts as text", where);
    if (first < file->size)
        ram_buf_printf(&line,
                       "%s%s: not UTF-8 in %zu places (the first is byte %zu, 0x%02X), each "
                       "of which counts as U+FFFD",
                       line.size ? "; " : "", where,
                       ram_utf8_count_invalid(data + first, file->size - first), first,
                       data[first]);
    if (line.size && !line.failed)
        ram_exec_notice(exec, "%s", line.data);
    ram_buf_release(&line);
}

static int check_and_change(struct ram_textfile *file, const char *where, enum ram_textfile_use use,
                            const struct ram_exec *exec, struct ram_err *err)
{
    const uint8_t *data = (const uint8_t *)file->text;
    const bool mark = file->size >= 3 && !memcmp(data, "\xef\xbb\xbf", 3);
    struct changes changes = {0};

    const int status = refuse_binary(data, file->size, where, use, err);
    if (status)
        return status;
    if (use == RAM_TEXTFILE_VERBATIM) {
        tell_verbatim(file, mark, where, exec);
        return RAM_OK;
    }
    const size_t valid = ram_utf8_valid(data, file->size);
    if (valid < file->size && use == RAM_TEXTFILE_PLAIN &&
        ram_utf8_is_cut(data + valid, file->size - valid)) {
        changes.n_cut = file->size - valid;
        file->text[file->size = valid] = '\0';
    } else if (valid < file->size) {
        return refuse_bytes(data, file->size, valid, where, err);
    }
    if (mark) {
        changes.mark = true;
        file->size -= 3;
        memmove(file->text, file->text + 3, file->size + 1);
    }
    translate_line_ends(file, &changes);
    if (!file->size)
        return ram_fail(err, RAM_EFORMAT, "%s: the file is empty", where);
    tell_changes(&changes, where, exec);
    return RAM_OK;
}

/* ---- reading ------------------------------------------------------------------------------ */

/* A pipe does not say how much will come. */
static int read_all(int fd, const char *where, size_t max, char **data, size_t *size,
                    struct ram_err *err)
{
    size_t have = 0, cap = 1 << 16;
    struct stat st;

    if (!fstat(fd, &st) && S_ISREG(st.st_mode) && st.st_size > 0 && (uintmax_t)st.st_size <= max)
        cap = (size_t)st.st_size + 2; /* one more byte is asked for, to see the end */
    char *p = malloc(cap);
    while (p) {
        const ssize_t n = read(fd, p + have, cap - have - 1);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            free(p);
            return ram_fail_errno(err, "%s: cannot read", where);
        }
        have += (size_t)n;
        if (n == 0 || have > max)
            break;
        if (have + 1 == cap) {
            char *const larger = realloc(p, 2 * cap);
            if (!larger)
                free(p);
            p = larger;
            cap *= 2;
        }
    }
    if (!p)
        return ram_fail(err, RAM_ENOMEM, "%s: no memory for %zu bytes", where, cap);
    if (have > max) {
        free(p);
        return ram_fail(err, RAM_ERANGE, "%s: more than %zu bytes; at most that many are read",
                        where, max);
    }
    p[have] = '\0';
    *data = p;
    *size = have;
    return RAM_OK;
}

int ram_textfile_take(struct ram_textfile *out, char *bytes, size_t size, const char *where,
                      enum ram_textfile_use use, const struct ram_exec *exec, struct ram_err *err)
{
    *out = (struct ram_textfile){.text = bytes, .size = size, .file_size = size};
    ram_sha256(bytes, size, out->sha256);
    const int status = check_and_change(out, where, use, exec, err);
    if (status)
        ram_textfile_release(out);
    return status;
}

int ram_textfile_read(struct ram_textfile *out, const char *path, size_t max,
                      enum ram_textfile_use use, const struct ram_exec *exec, struct ram_err *err)
{
    const bool is_stdin = !strcmp(path, "-");
    const char *where = is_stdin ? "standard input" : path;
    char *bytes = NULL;
    size_t size = 0;

    *out = (struct ram_textfile){0};
    const int fd = is_stdin ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return ram_fail_errno(err, "%s", path);
    int status = read_all(fd, where, max, &bytes, &size, err);
    if (!is_stdin)
        close(fd);
    return status ? status : ram_textfile_take(out, bytes, size, where, use, exec, err);
}

void ram_textfile_release(struct ram_textfile *file)
{
    free(file->text);
    *file = (struct ram_textfile){0};
}
