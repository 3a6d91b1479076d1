/* ram_list.c - ram.h: the version, and the names that options can be set to. Every list is the
 * table of the module that does the work. */
#include "allocate/method.h"
#include "arch/family.h"
#include "codec/form.h"
#include "convert/conversion.h"
#include "evaluate/task.h"
#include "probe/effort.h"

const char *ram_version(void)
{
    return RAM_VERSION;
}

static const char *method(size_t i, const char **what)
{
    size_t n;
    const struct ram_method *const methods = ram_methods(&n);

    if (i >= n)
        return NULL;
    *what = methods[i].what;
    return methods[i].name;
}

static const char *encoder(size_t i, const char **what)
{
    size_t n;
    const struct ram_weight_encoder *const encoders = ram_weight_encoders(&n);

    if (i >= n)
        return NULL;
    *what = encoders[i].what;
    return encoders[i].name;
}

static const char *form(size_t i, const char **what)
{
    if (i >= RAM_N_FORMS)
        return NULL;
    *what = ram_forms[i].label;
    return ram_forms[i].id;
}

static const char *family(size_t i, const char **what)
{
    const struct ram_family *const found = ram_family_at(i);

    *what = "";
    return found ? found->model_type : NULL;
}

static const char *format(size_t i, const char **what)
{
    const struct ram_format *const found = ram_format_at(i);

    *what = found ? found->what : "";
    return found ? found->id : NULL;
}

const char *ram_list_item(enum ram_list list, size_t i, const char **what)
{
    static const char *(*const lists[])(size_t i, const char **what) = {
        [RAM_LIST_METHODS] = method,
        [RAM_LIST_ENCODERS] = encoder,
        [RAM_LIST_PROFILES] = ram_profile_at,
        [RAM_LIST_FORMATS] = format,
        [RAM_LIST_FORMS] = form,
        [RAM_LIST_EFFORTS] = ram_effort_at,
        [RAM_LIST_TASKS] = ram_task_at,
        [RAM_LIST_FAMILIES] = family,
    };
    const char *unused;

    if ((size_t)list >= sizeof lists / sizeof *lists)
        return NULL;
    return lists[list](i, what ? what : &unused);
}
