/*
 * hub.c - see hub.h. The cache is laid out as huggingface_hub does it:
 * models--org--name/refs/<revision> holds a commit, snapshots/<commit>/ the files.
 */
#include "ckpt/hub.h"

#include "base/buf.h"
#include "base/file.h"
#include "base/mem.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { MAX_REF = 4096 };

/* "org/name@revision", each part checked for what may stand in a path. */
struct repo {
    char *org, *name, *revision; /* all in org's memory */
};

static bool is_dir(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* Letters, digits and . _ - (revisions: / too), no "..", not beginning with one of . / - */
static bool is_name(const char *s, bool slashes)
{
    if (!*s || strchr("./-", *s) || strstr(s, ".."))
        return false;
    for (; *s; s++) {
        const bool letter = (*s >= 'a' && *s <= 'z') || (*s >= 'A' && *s <= 'Z');
        const bool digit = *s >= '0' && *s <= '9';
        if (!letter && !digit && *s != '.' && *s != '_' && *s != '-' && !(slashes && *s == '/'))
            return false;
    }
    return true;
}

/* RAM_OK with org = NULL if model is not of this form. */
static int parse_repo(const char *model, struct repo *repo, struct ram_err *err)
{
    static char main_revision[] = "main";

    *repo = (struct repo){0};
    char *copy = ram_strdup(model, err);
    if (!copy)
        return RAM_ENOMEM;
    char *at = strchr(copy, '@');
    if (at)
        *at++ = '\0';
    char *slash = strchr(copy, '/');
    if (slash)
        *slash++ = '\0';
    if (slash && is_name(copy, false) && is_name(slash, false) && (!at || is_name(at, true)))
        *repo = (struct repo){copy, slash, at ? at : main_revision};
    else
        free(copy);
    return RAM_OK;
}

/* The text of a printf that must not run out of memory silently. */
static char *text_of(struct ram_buf *buf, struct ram_err *err)
{
    char *text = NULL;
    ram_buf_take(buf, &text, err);
    return text;
}

/* HF_HUB_CACHE, else HF_HOME/hub, else XDG_CACHE_HOME/huggingface/hub, else ~/.cache/... */
static char *cache_dir(struct ram_err *err)
{
    static const char *const places[][2] = {{"HF_HUB_CACHE", ""},
                                            {"HF_HOME", "/hub"},
                                            {"XDG_CACHE_HOME", "/huggingface/hub"},
                                            {"HOME", "/.cache/huggingface/hub"}};
    struct ram_buf buf = {0};

    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        const char *value = getenv(places[i][0]);
        if (value && *value) {
            ram_buf_printf(&buf, "%s%s", value, places[i][1]);
            return text_of(&buf, err);
        }
    }
    ram_fail(err, RAM_EIO, "no Hugging Face cache: HF_HUB_CACHE, HF_HOME and HOME are not set");
    return NULL;
}

/* The commit that a branch or tag stands for; NULL without a failure if there is no such ref. */
static char *read_ref(const char *repo_dir, const char *revision, struct ram_err *err)
{
    struct ram_buf buf = {0};
    struct ram_err missing = {0};
    char *commit = NULL;
    size_t size;

    ram_buf_printf(&buf, "%s/refs/%s", repo_dir, revision);
    char *path = text_of(&buf, err);
    if (path && ram_file_read(path, MAX_REF, &commit, &size, &missing) == RAM_OK) {
        commit[strcspn(commit, " \r\n\t")] = '\0';
        if (!is_name(commit, false)) {
            ram_fail(err, RAM_EFORMAT, "%s: does not hold a commit", path);
            free(commit);
            commit = NULL;
        }
    }
    free(path);
    return commit;
}

static int find_snapshot(const struct repo *repo, char **dir, struct ram_err *err)
{
    struct ram_buf buf = {0};
    char *cache = NULL, *repo_dir = NULL, *commit = NULL, *path = NULL;

    cache = cache_dir(err);
    if (!cache)
        goto done;
    ram_buf_printf(&buf, "%s/models--%s--%s", cache, repo->org, repo->name);
    repo_dir = text_of(&buf, err);
    if (!repo_dir)
        goto done;
    commit = read_ref(repo_dir, repo->revision, err);
    if (err->status)
        goto done;
    ram_buf_printf(&buf, "%s/snapshots/%s", repo_dir, commit ? commit : repo->revision);
    path = text_of(&buf, err);
    if (!path)
        goto done;
    if (is_dir(path)) {
        *dir = path;
        path = NULL;
    } else {
        const bool given = strcmp(repo->revision, "main") != 0;
        ram_fail(err, RAM_EIO,
                 "%s/%s%s%s: no such directory, and not in the Hugging Face cache %s; to download "
                 "it: hf download %s/%s%s%s",
                 repo->org, repo->name, given ? "@" : "", given ? repo->revision : "", cache,
                 repo->org, repo->name, given ? " --revision " : "", given ? repo->revision : "");
    }
done:
    free(cache);
    free(repo_dir);
    free(commit);
    free(path);
    return err->status;
}

/* "org/name" of .../models--org--name/snapshots/<commit>, else the last part of the path. */
static char *name_of_dir(const char *dir, struct ram_err *err)
{
    static const char mark[] = "/models--";
    struct ram_buf buf = {0};
    const char *snapshots = strstr(dir, "/snapshots/");
    const char *models = NULL;

    for (const char *p = strstr(dir, mark); p && p < snapshots; p = strstr(p + 1, mark))
        models = p + strlen(mark);
    const char *dashes = models ? strstr(models, "--") : NULL;
    if (dashes && dashes < snapshots && !memchr(models, '/', (size_t)(snapshots - models))) {
        ram_buf_printf(&buf, "%.*s/%.*s", (int)(dashes - models), models,
                       (int)(snapshots - dashes - 2), dashes + 2);
        return text_of(&buf, err);
    }
    const char *slash = strrchr(dir, '/');
    return ram_strdup(slash && slash[1] ? slash + 1 : dir, err);
}

int ram_hub_find(const char *model, char **dir, char **name, struct ram_err *err)
{
    struct repo repo = {0};
    char *found = NULL;
    struct stat st;

    *dir = *name = NULL;
    if (is_dir(model)) {
        found = ram_strdup(model, err);
    } else if (stat(model, &st) == 0) {
        ram_fail(err, RAM_EUSAGE, "%s: is a file; a model is the directory it lies in", model);
    } else if (parse_repo(model, &repo, err) == RAM_OK && !repo.org) {
        ram_fail(err, RAM_EIO, "%s: no such directory, and not of the form org/name[@revision]",
                 model);
    } else if (repo.org) {
        find_snapshot(&repo, &found, err);
    }
    if (found) {
        *dir = realpath(found, NULL);
        if (!*dir)
            ram_fail_errno(err, "%s", found);
        else
            *name = name_of_dir(*dir, err);
    }
    if (err->status) {
        free(*dir);
        free(*name);
        *dir = *name = NULL;
    }
    free(found);
    free(repo.org);
    return err->status;
}
