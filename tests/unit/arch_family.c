/* Families as data: their slots by name and by role, the spelling of roles, what is told of
 * routers. */
#include "arch/name_guess.h"
#include "arch/tensors.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* A configuration in which layers of every kind exist, with everything that is optional. */
static struct ram_config rich(const struct ram_family *family)
{
    static bool dense[2] = {true, false}, slides[2], recurs[2] = {false, true};

    return (struct ram_config){.family = family,
                               .model_type = family->model_type,
                               .n_layers = 2,
                               .n_experts = 4,
                               .n_shared = 1,
                               .q_lora = 8,
                               .attention_bias = true,
                               .mlp_bias = true,
                               .qk_norm = true,
                               .dense = dense,
                               .slides = slides,
                               .recurs = recurs};
}

static void names_lead_back_to_their_slots(void **state)
{
    const struct ram_family *family;
    char name[RAM_SLOT_NAME];
    (void)state;

    for (size_t i = 0; (family = ram_family_at(i)); i++) {
        const struct ram_config config = rich(family);
        const struct ram_slot *const ends[] = {family->embed, family->norm, family->head};
        assert_ptr_equal(ram_family_find(family->model_type), family);
        for (size_t s = 0; s < family->n_slots; s++) {
            ram_slot_name(name, &config, &family->slots[s], 17, 105);
            assert_ptr_equal(ram_family_slot(&config, name), &family->slots[s]);
        }
        for (size_t e = 0; e < 3; e++) {
            ram_slot_name(name, &config, ends[e], RAM_NO_LAYER, 0);
            assert_ptr_equal(ram_family_slot(&config, name), ends[e]);
        }
        assert_null(ram_family_slot(&config, "model.layers.17.self_attn.q_proj.weights"));
        assert_null(ram_family_slot(&config, "model.layers.x.self_attn.q_proj.weight"));
    }
    assert_true(family == NULL);
}

/* A layer has one matrix of a role, whatever the configuration, and a matrix says what flows in. */
static void roles_are_filled_once(void **state)
{
    const struct ram_family *family;
    (void)state;

    for (size_t i = 0; (family = ram_family_at(i)); i++) {
        const struct ram_config config = rich(family);
        for (uint64_t layer = 0; layer < 2; layer++)
            for (size_t s = 0; s < family->n_slots; s++) {
                const struct ram_slot *slot = &family->slots[s];
                const bool matrix = ram_slot_is_matrix(slot);
                assert_int_equal(slot->input != RAM_INPUT_NONE, matrix);
                if (!ram_slot_exists(&config, slot, layer))
                    continue;
                assert_ptr_equal(matrix ? ram_family_matrix(&config, slot->role, layer)
                                        : ram_family_vector(&config, slot->role, layer),
                                 slot);
            }
    }
}

static void experts_have_names(void **state)
{
    const struct ram_config config = rich(ram_family_find("glm4_moe_lite"));
    const struct ram_slot *up = ram_family_matrix(&config, RAM_ROLE_UP, 1);
    const struct ram_slot *kv_b = ram_family_matrix(&config, RAM_ROLE_KV_B, 1);
    char name[RAM_SLOT_NAME];
    struct ram_stack_name stack;
    (void)state;

    assert_string_equal(ram_slot_name(name, &config, up, 1, 3),
                        "model.layers.1.mlp.experts.3.up_proj.weight");
    assert_string_equal(ram_slot_unit(name, &config, up, 1),
                        "model.layers.1.mlp.experts.*.up_proj.weight");
    assert_true(ram_slot_fused(&stack, &config, up, 1, 1) && !stack.both && stack.is_module);
    assert_string_equal(stack.name, "model.layers.1.mlp.experts.up_proj");
    assert_true(ram_slot_fused(&stack, &config, up, 1, 2) && stack.both && !stack.is_module);
    assert_string_equal(stack.name, "model.layers.1.mlp.experts.gate_up_proj");
    assert_false(ram_slot_fused(&stack, &config, up, 1, 4));
    assert_false(ram_slot_fused(&stack, &config, kv_b, 1, 0));
    assert_string_equal(ram_slot_in_layer(name, &config, 1, "mlp.x"), "model.layers.1.mlp.x");
}

/* Every slot that a model has, once, the ends at the ends. */
static void slots_are_walked_in_order(void **state)
{
    const struct ram_config config = rich(ram_family_find("glm4_moe_lite"));
    const struct ram_family *family = config.family;
    struct ram_slot_walk walk = {0};
    size_t n = 0, expected = 3;
    int last = 0;
    (void)state;

    for (int layer = 0; layer < (int)config.n_layers; layer++)
        for (size_t i = 0; i < family->n_slots; i++)
            expected += ram_slot_exists(&config, &family->slots[i], (uint64_t)layer);
    for (; ram_slot_next(&walk, &config); n++) {
        const struct ram_slot *end = n == 0              ? family->embed
                                     : n + 2 == expected ? family->norm
                                     : n + 1 == expected ? family->head
                                                         : NULL;
        assert_int_equal(walk.layer == RAM_NO_LAYER, end != NULL);
        if (end)
            assert_ptr_equal(walk.slot, end);
        else
            assert_true(walk.layer >= last && walk.layer < (int)config.n_layers);
        last = walk.layer;
    }
    assert_int_equal(n, expected);
    walk = (struct ram_slot_walk){0};
    const struct ram_config unknown = {.n_layers = 3};
    for (n = 0; ram_slot_next(&walk, &unknown); n++)
        assert_int_equal(walk.layer, RAM_NO_LAYER);
    assert_int_equal(n, 3);
}

static void roles_are_spelled(void **state)
{
    (void)state;

    for (int role = 0; role <= RAM_ROLE_OTHER; role++)
        assert_int_equal(ram_role_find(ram_role_name((enum ram_role)role)), role);
    for (int role = 0; role < RAM_N_ROLES; role++)
        assert_non_null(ram_role_name((enum ram_role)role));
    assert_string_equal(ram_role_name(RAM_ROLE_NORM_KV_LATENT), "norm");
    assert_string_equal(ram_role_name(RAM_ROLE_CORRECTION), "bias");
    assert_int_equal(ram_role_find("attention"), RAM_ROLE_OTHER);
    assert_int_equal(ram_name_parse("h.3.attn.wq.weight").role, RAM_ROLE_Q);
    assert_int_equal(ram_name_parse("h.3.attn.wq.weight").layer, 3);
}

static void routers_have_widths(void **state)
{
    int bits, group;
    (void)state;

    assert_true(ram_family_router("qwen3_moe", &bits, &group));
    assert_int_equal(bits, 8);
    assert_int_equal(group, 64);
    assert_true(ram_family_router("glm4_moe", &bits, &group));
    assert_int_equal(bits, 16);
    assert_false(ram_family_router("llama", &bits, &group));
    assert_false(ram_family_router("unknown", &bits, &group));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_lead_back_to_their_slots),
        cmocka_unit_test(roles_are_filled_once),
        cmocka_unit_test(experts_have_names),
        cmocka_unit_test(slots_are_walked_in_order),
        cmocka_unit_test(roles_are_spelled),
        cmocka_unit_test(routers_have_widths),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
