#include "compare.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "draw.h"
#include "exported.h"

enum { MOST_PRINTED = 5 }; /* failures of a kernel at a level */

static const char *const NAMES[LEVELS] = {"base", "avx2", "avx512",
                                          "avx512-bf16", "amx", "amx-emulated"};

static struct {
    char name[96], shape[256];
    double limit, largest;
    int64_t shapes, failures;
} now;
static int64_t all_failures;

void begin_kernel(const char *kernel, int is_float32, int level, double limit)
{
    memset(&now, 0, sizeof now);
    snprintf(now.name, sizeof now.name, "%-28s %-8s %-12s", kernel,
             is_float32 ? "float32" : "bfloat16", NAMES[level]);
    now.limit = limit;
}

void begin_shape(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(now.shape, sizeof now.shape, format, arguments);
    va_end(arguments);
    now.shapes++;
}

static void fail(const char *what, const char *how)
{
    if (now.failures++ < MOST_PRINTED)
        printf("FAILED %s %s %s; %s\n", now.name, what, how, now.shape);
    all_failures++;
}

double root_mean_square(const double *values, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += values[i] * values[i];
    return sqrt(sum / (double)n);
}

void expect_near(const char *what, const void *found, int is_float32, const double *wanted,
                 int64_t n, double size)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++) {
        double away = element_at(found, is_float32, i) - wanted[i];
        sum += away * away;
    }
    double against = fmax(fmax(root_mean_square(wanted, n), size), 1e-30);
    double error = sqrt(sum / (double)n) / against;
    if (error > now.largest)
        now.largest = error;
    if (error <= now.limit) /* NaN is not */
        return;
    char how[64];
    snprintf(how, sizeof how, "has an error of %.3g, more than %.2g", error, now.limit);
    fail(what, how);
}

void expect_same(const char *what, const void *found, const void *wanted, size_t bytes)
{
    if (memcmp(found, wanted, bytes))
        fail(what, "has other bits");
}

void expect(const char *what, int holds)
{
    if (!holds)
        fail(what, "does not hold");
}

void end_kernel(void)
{
    printf("%s %3lld shapes, largest error %.3g of %.2g%s\n", now.name, (long long)now.shapes,
           now.largest, now.limit, now.failures ? "  FAILED" : "");
}

int64_t failure_count(void)
{
    return all_failures;
}

int has_level(int level)
{
    return level == EMULATED_AMX ? ravine_level() >= AVX512 : level <= ravine_level();
}
