/* message.c - see message.h. */
#include "message.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Length of the control character at s: C0, DEL, or C1 in its UTF-8 form; 0 if it is none. */
static size_t control_length(const unsigned char *s)
{
    if ((s[0] < 0x20 && s[0] != '\n' && s[0] != '\t') || s[0] == 0x7f)
        return 1;
    return s[0] == 0xc2 && s[1] >= 0x80 && s[1] < 0xa0 ? 2 : 0;
}

static void put_clean(FILE *out, const char *text)
{
    const unsigned char *s = (const unsigned char *)text;

    while (*s) {
        const size_t n = control_length(s);
        fputc(n ? '?' : *s, out);
        s += n ? n : 1;
    }
}

void message_clean(char *out, size_t room, const char *text)
{
    const unsigned char *s = (const unsigned char *)text;
    size_t n = 0;

    while (*s && n + 1 < room) {
        const size_t skip = control_length(s);
        out[n++] = skip ? '?' : (char)*s;
        s += skip ? skip : 1;
    }
    out[n] = '\0';
}

void message(const char *fmt, ...)
{
    char line[2048];
    va_list args;

    va_start(args, fmt);
    vsnprintf(line, sizeof line, fmt, args);
    va_end(args);
    fputs("ram: ", stderr);
    put_clean(stderr, line);
    fputc('\n', stderr);
}

int message_failure(const struct ram_err *err)
{
    message("%s", err->message);
    return ram_exit_code(err->status);
}

void result_print(const char *text)
{
    const size_t n = strlen(text);

    put_clean(stdout, text);
    if (n && text[n - 1] != '\n')
        fputc('\n', stdout);
    fflush(stdout); /* in step with the messages where both go to one file */
}

/* Bytes of the UTF-8 character at s (RFC 3629: shortest form, no surrogates), 0 if it is none. */
static size_t character_length(const unsigned char *s, size_t size)
{
    static const struct {
        unsigned char low, high, second_low, second_high;
        size_t length;
    } forms[] = {
        {0x00, 0x7f, 0, 0, 1},       {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3},
        {0xe1, 0xec, 0x80, 0xbf, 3}, {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3},
        {0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
    };

    for (size_t f = 0; f < sizeof forms / sizeof *forms; f++) {
        if (s[0] < forms[f].low || s[0] > forms[f].high)
            continue;
        const size_t n = forms[f].length;
        if (n > size || (n > 1 && (s[1] < forms[f].second_low || s[1] > forms[f].second_high)))
            return 0;
        for (size_t i = 2; i < n; i++)
            if ((s[i] & 0xc0) != 0x80)
                return 0;
        return n;
    }
    return 0;
}

void result_print_json_string(const char *text, size_t size)
{
    const unsigned char *s = (const unsigned char *)text;

    fputc('"', stdout);
    for (size_t i = 0; i < size;) {
        const size_t n = character_length(s + i, size - i);
        if (n == 0)
            printf("\\ufffd");
        else if (s[i] == '"' || s[i] == '\\')
            printf("\\%c", s[i]);
        else if (s[i] < 0x20)
            printf("\\u%04x", s[i]);
        else
            fwrite(s + i, 1, n, stdout);
        i += n ? n : 1;
    }
    fputc('"', stdout);
}

void result_say(struct result_speech *speech, const char *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const unsigned char c = (unsigned char)bytes[i];
        const bool c1 = speech->held && c >= 0x80 && c < 0xa0;
        const bool c0 = (c < 0x20 && c != '\n' && c != '\t') || c == 0x7f;
        if (speech->held && !c1)
            putchar(0xc2);
        speech->held = speech->terminal && c == 0xc2;
        if (!speech->held)
            putchar(c1 || (c0 && speech->terminal) ? '?' : c);
    }
    fflush(stdout);
}

void result_print_shell_word(const char *text)
{
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
                                "_-./=:@%+,";

    if (*text && !text[strspn(text, plain)]) {
        fputs(text, stdout);
        return;
    }
    fputc('\'', stdout);
    for (const char *s = text; *s; s++)
        fputs(*s == '\'' ? "'\\''" : (const char[]){*s, '\0'}, stdout);
    fputc('\'', stdout);
}

int result_close(int exit_code)
{
    errno = 0;
    if ((fflush(stdout) || ferror(stdout)) && exit_code == 0) {
        message("cannot write the result: %s", errno ? strerror(errno) : "output error");
        return 1;
    }
    return exit_code;
}
