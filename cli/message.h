/*
 * message.h - everything the command says: results to stdout, messages to stderr as "ram: ...".
 *
 * Names in a checkpoint are untrusted bytes. Control characters in them are replaced, so that a
 * file cannot send commands to the terminal.
 */
#ifndef RAM_CLI_MESSAGE_H
#define RAM_CLI_MESSAGE_H

#include "ram.h"

#if defined(__GNUC__)
#define MESSAGE_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#else
#define MESSAGE_PRINTF(fmt, args)
#endif

/* One line on stderr: "ram: " and the text. */
void message(const char *fmt, ...) MESSAGE_PRINTF(1, 2);

/* Says why something failed; the exit code for it. */
int message_failure(const struct ram_err *err);

/* A result on stdout, with one newline at its end. */
void result_print(const char *text);

/* Text as a JSON string with its quotes, on stdout; what is not UTF-8 becomes U+FFFD. */
void result_print_json_string(const char *text, size_t size);

/* What a model says, on stdout, as it comes; a character may be split between two calls. A model
 * may say anything, also what a terminal takes for a command: on a terminal, control characters
 * (C0, and C1 in its UTF-8 form) are shown as question marks. */
struct result_speech {
    bool terminal; /* stdout is one */
    bool held;     /* a byte that begins a C1 character, or does not */
};
void result_say(struct result_speech *speech, const char *bytes, size_t n);

/* Text as one word of a POSIX shell, on stdout: quoted only if it has to be. */
void result_print_shell_word(const char *text);

/* status, or 1 if stdout could not take everything that was written to it. */
int result_close(int exit_code);

/* Copies as much of text as fits into out (room > 0), control characters replaced. */
void message_clean(char *out, size_t room, const char *text);

#endif
