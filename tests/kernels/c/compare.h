/* What a kernel has written against what was wanted; one line for each kernel and level. */

#ifndef RAVINE_TEST_COMPARE_H
#define RAVINE_TEST_COMPARE_H

#include <stddef.h>
#include <stdint.h>

enum { THREADS = 3 }; /* beside 1 */

/* The largest relative errors, root mean square against root mean square. */
#define DIRECT_BFLOAT16 5e-3
#define DIRECT_FLOAT32 4e-6

static inline double direct_limit(int is_float32)
{
    return is_float32 ? DIRECT_FLOAT32 : DIRECT_BFLOAT16;
}

/* Begins the line of a kernel at a level. */
void begin_kernel(const char *kernel, int is_float32, int level, double limit);

/* Counts a shape; its text is printed where something is wrong with it. */
void begin_shape(const char *format, ...);

/* Whether `found`, n elements of bfloat16 or float32, is near to `wanted`: the root mean square of
   the difference against that of what is wanted, or against `size` where that is larger. */
void expect_near(const char *what, const void *found, int is_float32, const double *wanted,
                 int64_t n, double size);

/* Whether all bytes are the same. */
void expect_same(const char *what, const void *found, const void *wanted, size_t bytes);

/* Whether a condition holds. */
void expect(const char *what, int holds);

/* Prints the line. */
void end_kernel(void);

/* How often something was wrong, so far. */
int64_t failure_count(void);

double root_mean_square(const double *values, int64_t n);

/* Whether this processor and this build have the level. */
int has_level(int level);

#endif
