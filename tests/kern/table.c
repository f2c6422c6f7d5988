/* SPDX-License-Identifier: MIT */
/* The table of kernels: to add one is to add a row. */
#include "tests/kern/checks.h"

const struct kern kern_table[] = {
    { "codec", "values = scale * level + offset", KERN_ONCE, decoded_name, 40, check_codec },
    { "decode", "values = scale * level + offset", KERN_LEVELS, decoded_name, 40, check_decode },
    { "round_to_f16", "to nearest, ties to even", KERN_ONCE, NULL, 100, check_round_f16 },
    { "to_brains", "to nearest, ties to even, in range", KERN_LEVELS, NULL, 100,
      check_to_brains },

    { "encode", "level c, every bit; the error in double", KERN_LEVELS, encoder_name, 40,
      check_encode },
    { "encode_largest", "one by one", KERN_LEVELS, NULL, 100, check_encode_largest },

    { "native_acts", "docs/modes.md, activations", KERN_LEVELS, native_name, 60, check_acts },
    { "native_fine_acts", "docs/modes.md, activations of mode fast", KERN_LEVELS, native_name, 60,
      check_fine_acts },
    { "native_panel", "docs/modes.md, products, every bit", KERN_LEVELS, native_name, 60,
      check_native_panel },
    { "native_many", "docs/modes.md, products, every bit", KERN_LEVELS, native_name, 40,
      check_native_many },
    { "fast_panel", "docs/modes.md, every bit; the sum in double", KERN_TILES, decoded_name, 40,
      check_fast_panel },
    { "words_panel", "docs/modes.md, every bit", KERN_LEVELS, native_name, 40, check_words_panel },

    { "dot_rows", "level c, and the sum in double", KERN_LEVELS, NULL, 200, check_dot_rows },
    { "plain_rows", "dot_rows of level c, every bit", KERN_LEVELS, plain_name, 100,
      check_plain_rows },
    { "halves_rows", "docs/modes.md, every bit; the sum in double", KERN_LEVELS, sixteen_bits_name,
      200, check_halves_rows },
    { "panel", "docs/modes.md, every bit; the sum in double", KERN_LEVELS, sixteen_bits_name, 200,
      check_panel },
    { "to_halves", "to nearest, ties to even", KERN_LEVELS, NULL, 100, check_to_halves },
    { "attention_scores", "level c, and the sum in double", KERN_LEVELS, NULL, 200,
      check_attention_scores },
    { "attention_mix", "level c, and the sum in double", KERN_LEVELS, NULL, 200,
      check_attention_mix },
    { "attention", "token by token at level c, every bit", KERN_LEVELS, NULL, 100,
      check_attention },

    { "matrix_exact", "dot_rows of level c, the sum in double", KERN_LEVELS, decoded_name, 20,
      check_matrix_exact },
    { "matrix_native", "docs/modes.md, products, every bit", KERN_LEVELS, decoded_name, 20,
      check_matrix_native },
    { "matrix_fast", "docs/modes.md; the sum in double", KERN_TILES, decoded_name, 20,
      check_matrix_fast },

    { "row_rms_norm", "the formula in double", KERN_LEVELS, NULL, 200, check_rms_norm },
    { "row_layer_norm", "the formula in long double", KERN_LEVELS, NULL, 200, check_layer_norm },
    { "row_softmax", "the formula in double", KERN_LEVELS, NULL, 200, check_softmax },
    { "row_activate", "the formula in double", KERN_LEVELS, row_activation_name, 100,
      check_activation },
    { "row_rope", "the formula in double", KERN_LEVELS, NULL, 100, check_rope },
    { "row_add", "one by one; and row_multiply", KERN_LEVELS, NULL, 100, check_add_multiply },

    { "logits_pair", "level c, the formulas in long double", KERN_LEVELS, NULL, 200,
      check_logits_pair },
    { "logits_top", "sorted numbers", KERN_ONCE, NULL, 200, check_logits_top },

    { "scan", "level c, and the formulas in long double", KERN_LEVELS, NULL, 100, check_scan },
    { "summary", "level c, the formulas in long double", KERN_LEVELS, NULL, 60, check_summary },
    { "quantiles", "sorted numbers", KERN_ONCE, NULL, 100, check_quantiles },
    { "histogram_of", "numbers between the edges", KERN_ONCE, NULL, 60, check_histogram },
    { "pair_error_of", "the formulas in long double", KERN_ONCE, NULL, 100, check_pair },
    { "distributions", "the formulas in long double", KERN_ONCE, NULL, 60, check_distribution },
    { "outliers_of", "the formulas in long double", KERN_ONCE, NULL, 100, check_outliers },
    { 0 },
};
