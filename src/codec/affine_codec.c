/* affine_codec.c - the codec of affine forms: rows to codes, scales and biases by every encoder,
 * and the rounding rules that they have. */
#include "codec/affine_search.h"
#include "codec/gptq.h"

struct ram_affine ram_affine_of(const struct ram_storage *as)
{
    return (struct ram_affine){.bits = as->form->bits,
                               .group = as->form->group,
                               .profile = as->profile,
                               .scale_type = as->scale_type};
}

static uint64_t row_size(const struct ram_form *form, size_t plane, uint64_t cols,
                         size_t scale_size)
{
    /* A row's codes end with a 32-bit word, since its length is a multiple of 32. */
    return plane == 0 ? cols / 8 * (uint64_t)form->bits : cols / (uint64_t)form->group * scale_size;
}

static double encode(const struct ram_storage *as, const float *w, size_t n, size_t cols,
                     uint8_t *const planes[RAM_MAX_PLANES])
{
    const struct ram_affine f = ram_affine_of(as);

    return ram_affine_encode(&f, w, n, cols, planes[0], planes[1], planes[2]);
}

static void decode(const struct ram_storage *as, const uint8_t *const planes[RAM_MAX_PLANES],
                   size_t n, size_t cols, float *w)
{
    const struct ram_affine f = ram_affine_of(as);

    ram_affine_decode(&f, planes[0], planes[1], planes[2], n, cols, w);
}

static double search(const struct ram_storage *as, const float *w, size_t n, size_t cols,
                     uint8_t *const planes[RAM_MAX_PLANES])
{
    static const struct ram_search usual;
    const struct ram_affine f = ram_affine_of(as);

    return ram_search_encode(&f, &usual, w, n, cols, planes[0], planes[1], planes[2]);
}

static int gptq(const struct ram_storage *as, const struct ram_gptq *how, const float *w, size_t n,
                size_t cols, uint8_t *const planes[RAM_MAX_PLANES], double *squared_error,
                struct ram_err *err)
{
    const struct ram_gptq_bytes out = {planes[0], planes[1], planes[2]};
    struct ram_gptq own = *how;

    own.form = ram_affine_of(as);
    return ram_gptq_encode(&own, w, n, cols, &out, squared_error, err);
}

static void errors(enum ram_scale_type type, const float *w, size_t n, size_t cols,
                   double sums[RAM_N_FORMS])
{
    double own[RAM_KERN_N_BITS][RAM_KERN_N_GROUPS] = {{0}};

    ram_affine_errors(RAM_PROFILE_GPU, type, w, n, cols, own);
    for (size_t b = 0; b < RAM_KERN_N_BITS; b++)
        for (size_t g = 0; g < RAM_KERN_N_GROUPS; g++)
            sums[ram_form_index(ram_form_of(ram_kern_bits[b], ram_kern_groups[g]))] += own[b][g];
}

const struct ram_codec ram_affine_codec = {
    .n_planes = 3,
    .planes = {"weight", "scales", "biases"},
    .row_size = row_size,
    .encode = encode,
    .decode = decode,
    .search = search,
    .gptq = gptq,
    .errors = errors,
};

/* ---- rounding ------------------------------------------------------------------------------- */

const char *ram_profile_at(size_t i, const char **what)
{
    static const struct {
        const char *name, *what;
    } profiles[] = {
        [RAM_PROFILE_GPU] = {"gpu", "as MLX rounds on a GPU"},
        [RAM_PROFILE_CPU] = {"cpu", "as MLX rounds on a CPU"},
    };

    if (i >= sizeof profiles / sizeof *profiles)
        return NULL;
    *what = profiles[i].what;
    return profiles[i].name;
}

const char *ram_profile_name(enum ram_profile profile)
{
    const char *unused;

    return ram_profile_at(profile, &unused);
}
