/* Checks the C library against plain loops in double precision, without Python or torch: every
   kernel at every level that this processor has, over shapes from a fixed seed, with 1 and 3
   threads, whose results must not differ in a bit. Buffers have exactly their size, so that the
   address sanitizer (`make sanitize`) sees any byte too far; memory that nobody has written is NaN.

   Prints one line for each kernel and level; ends with 0, or with 1 where something was wrong. */

#include <stdio.h>

#include "checks.h"
#include "compare.h"
#include "exported.h"

#if defined(__SANITIZE_ADDRESS__)
/* What the kernels allocate is NaN too until they write it. */
const char *__asan_default_options(void);

const char *__asan_default_options(void)
{
    return "max_malloc_fill_size=1073741824:malloc_fill_byte=255:detect_stack_use_after_return=1";
}
#endif

/* Algorithms that a level lacks are refused. */
static void check_refusals(void)
{
    const struct convolution tiles = {.algorithm = 0}, unknown = {.algorithm = 3, .is_float32 = 1};
    const struct convolution halves = {.algorithm = WINOGRAD_2}, words = {.algorithm = PRODUCT};
    begin_kernel("refusals", 1, BASE, 0);
    begin_shape("what the level lacks");
    expect("no tiles in base", ravine_convolve(BASE, &tiles, 1) == LACKING);
    expect("no F(3x3)", ravine_convolve(BASE, &unknown, 1) == LACKING);
    expect("no bfloat16 in base", ravine_convolve(BASE, &halves, 1) == LACKING);
    expect("no products of bfloat16 in base", ravine_convolve(BASE, &words, 1) == LACKING);
    expect("no tiles in base", ravine_weight_gradient(BASE, &(struct weights){0}, 1) == LACKING);
    const struct weights squares = {.algorithm = WINOGRAD_2, .is_float32 = 1};
    expect("no gradient by F(2x2) in float32", ravine_weight_gradient(BASE, &squares, 1) == LACKING);
    end_kernel();
}

int main(void)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    check_refusals();
    check_steps();
    check_squares();
    check_pixels();
    check_pool();
    check_response();
    check_depthwise();
    check_norm();
    check_convolve();
    check_inference();
    check_inference_steps();
    check_weight_gradient();
    return failure_count() > 0;
}
