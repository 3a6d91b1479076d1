/*
 * hub.c - see hub.h. The cache is laid out as huggingface_hub does it:
 * models--org--name/refs/<revision> holds a commit, snapshots/<commit>/ the files.
 */
#include "ckpt/hub.h"

#include "base/buf.h"
#include "base/file.h"
#include "base/mem.h"

#include <dirent.h>
#include <errno.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_REF = 4096 };

/* "org/name@revision" or "name@revision", each part checked for what may stand in a path. */
struct repo {
    char *id, *revision; /* both in id's memory; "org/name" */
};

static bool is_dir(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* One part of a repository's id, as huggingface_hub checks it: letters, digits and . _ -, neither
 * ".." nor "--", and no . or - at either end. */
static bool is_name(const char *s, size_t n)
{
    if (!n || strchr(".-", s[0]) || strchr(".-", s[n - 1]))
        return false;
    for (size_t i = 0; i < n; i++) {
        const bool letter = (s[i] >= 'a' && s[i] <= 'z') || (s[i] >= 'A' && s[i] <= 'Z');
        const bool digit = s[i] >= '0' && s[i] <= '9';
        if (!letter && !digit && !strchr("._-", s[i]))
            return false;
        if (i && s[i] == s[i - 1] && strchr(".-", s[i]))
            return false;
    }
    return true;
}

/* A branch, tag or commit, as git allows them: parts between slashes that are not empty and do not
 * begin with a dot, so that none leads out of refs/. */
static bool is_revision(const char *s)
{
    for (const char *part = s; part; part = strchr(part, '/') ? strchr(part, '/') + 1 : NULL)
        if (!*part || *part == '.' || *part == '/' || *part == '-')
            return false;
    for (; *s; s++)
        if ((unsigned char)*s <= ' ' || *s == 0x7f || strchr("~^:?*[\\", *s))
            return false;
    return true;
}

/* RAM_OK with id = NULL if model is not of this form. */
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
    const size_t n = strlen(copy), org = strcspn(copy, "/");
    const bool good =
        org == n ? is_name(copy, n) : is_name(copy, org) && is_name(copy + org + 1, n - org - 1);
    if (good && (!at || is_revision(at)))
        *repo = (struct repo){copy, at ? at : main_revision};
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

/* "~" and "~user" at the beginning of a path become home directories; unknown users stay. */
static const char *expand_home(const char *path, struct ram_buf *out)
{
    const size_t n = strcspn(path, "/");
    const char *home = NULL;
    char user[256];

    if (*path != '~' || n >= sizeof user)
        return path;
    memcpy(user, path + 1, n - 1);
    user[n - 1] = '\0';
    if (!*user)
        home = getenv("HOME");
    if (!home || !*home) {
        const struct passwd *entry = *user ? getpwnam(user) : getpwuid(getuid());
        home = entry ? entry->pw_dir : NULL;
    }
    if (!home)
        return path;
    ram_buf_puts(out, home);
    return path + n;
}

/* Bytes of "$NAME" or "${NAME}" at path, whose name goes to name; 0: it is none. */
static size_t variable_at(const char *path, char name[256])
{
    static const char word[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_";
    const bool braces = path[1] == '{';
    const size_t n = braces ? strcspn(path + 2, "}") : strspn(path + 1, word);

    if (*path != '$' || !n || n >= 256 || (braces && path[2 + n] != '}'))
        return 0;
    memcpy(name, path + (braces ? 2 : 1), n);
    name[n] = '\0';
    return n + (braces ? 3 : 1);
}

/* As Python's expanduser, then expandvars, which huggingface_hub applies to every place: variables
 * that are not set stay as they are. */
static char *expand(const char *path, struct ram_err *err)
{
    struct ram_buf buf = {0};
    char name[256];

    path = expand_home(path, &buf);
    while (*path) {
        const size_t n = variable_at(path, name);
        const char *value = n ? getenv(name) : NULL;
        if (value)
            ram_buf_puts(&buf, value);
        else
            ram_buf_add(&buf, path, n ? n : 1);
        path += n ? n : 1;
    }
    return text_of(&buf, err);
}

/* The first variable that is set, as huggingface_hub looks them up (constants.py); else
 * ~/.cache/huggingface/hub. */
static char *cache_dir(struct ram_err *err)
{
    static const char *const places[][2] = {{"HF_HUB_CACHE", ""},
                                            {"HUGGINGFACE_HUB_CACHE", ""},
                                            {"HF_HOME", "/hub"},
                                            {"XDG_CACHE_HOME", "/huggingface/hub"}};
    struct ram_buf buf = {0};

    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        const char *value = getenv(places[i][0]);
        if (!value || !*value)
            continue;
        ram_buf_printf(&buf, "%s%s", value, places[i][1]);
        char *path = text_of(&buf, err);
        char *expanded = path ? expand(path, err) : NULL;
        free(path);
        return expanded;
    }
    return expand("~/.cache/huggingface/hub", err);
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
        if (!is_name(commit, strlen(commit))) {
            ram_fail(err, RAM_EFORMAT, "%s: does not hold a commit", path);
            free(commit);
            commit = NULL;
        }
    }
    free(path);
    return commit;
}

/* The directory of a repository: "models--org--name". */
static char *folder_of(const char *cache, const char *id, struct ram_err *err)
{
    struct ram_buf buf = {0};
    const char *slash = strchr(id, '/');

    if (slash)
        ram_buf_printf(&buf, "%s/models--%.*s--%s", cache, (int)(slash - id), id, slash + 1);
    else
        ram_buf_printf(&buf, "%s/models--%s", cache, id);
    return text_of(&buf, err);
}

/* "models--org--name" to "org/name". */
static void put_id(struct ram_buf *buf, const char *folder, size_t n)
{
    const char *id = folder + strlen("models--");
    const char *dashes = strstr(id, "--");

    n -= strlen("models--");
    if (dashes && (size_t)(dashes - id) < n)
        ram_buf_printf(buf, "%.*s/%.*s", (int)(dashes - id), id,
                       (int)(n - (size_t)(dashes - id) - 2), dashes + 2);
    else
        ram_buf_printf(buf, "%.*s", (int)n, id);
}

/* What a person may have meant: a repository whose name differs in case alone. */
static void put_similar(struct ram_buf *buf, const char *cache, const char *repo_dir)
{
    const char *folder = repo_dir + strlen(cache) + 1;
    const struct dirent *entry;
    DIR *dir = opendir(cache);

    while (dir && (entry = readdir(dir)))
        if (strcmp(entry->d_name, folder) != 0 && !strcasecmp(entry->d_name, folder)) {
            ram_buf_puts(buf, "; it holds ");
            put_id(buf, entry->d_name, strlen(entry->d_name));
        }
    if (dir)
        closedir(dir);
}

/* The revisions of a repository that are there. */
static void put_revisions(struct ram_buf *buf, const char *repo_dir, struct ram_err *err)
{
    enum { MAX_LISTED = 4 };
    char *path = ram_path_join(repo_dir, "snapshots", err);
    DIR *dir = path ? opendir(path) : NULL;
    const struct dirent *entry;
    size_t n = 0;

    while (dir && (entry = readdir(dir)))
        if (*entry->d_name != '.' && n++ < MAX_LISTED)
            ram_buf_printf(buf, "%s%.64s", n == 1 ? "; of this model it holds commit " : ", ",
                           entry->d_name);
    if (dir)
        closedir(dir);
    free(path);
}

static int refuse(const struct repo *repo, const char *cache, const char *repo_dir,
                  struct ram_err *err)
{
    const bool given = strcmp(repo->revision, "main") != 0;
    struct ram_buf there = {0};

    put_similar(&there, cache, repo_dir);
    put_revisions(&there, repo_dir, err);
    ram_fail(err, RAM_EIO,
             "%s%s%s: no such directory, and not in the Hugging Face cache %s%s; to download it: "
             "hf download %s%s%s",
             repo->id, given ? "@" : "", given ? repo->revision : "", cache,
             there.data && !there.failed ? there.data : "", repo->id, given ? " --revision " : "",
             given ? repo->revision : "");
    ram_buf_release(&there);
    return err->status;
}

static int find_snapshot(const struct repo *repo, char **dir, struct ram_err *err)
{
    struct ram_buf buf = {0};
    char *repo_dir = NULL, *commit = NULL, *path = NULL;

    char *cache = cache_dir(err);
    if (!cache)
        goto done;
    repo_dir = folder_of(cache, repo->id, err);
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
        refuse(repo, cache, repo_dir, err);
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
        models = p + 1;
    if (models && !memchr(models, '/', (size_t)(snapshots - models))) {
        put_id(&buf, models, (size_t)(snapshots - models));
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
    } else if (parse_repo(model, &repo, err) == RAM_OK && !repo.id) {
        ram_fail(err, RAM_EIO, "%s: no such directory, and not of the form org/name[@revision]",
                 model);
    } else if (repo.id) {
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
    free(repo.id);
    return err->status;
}
