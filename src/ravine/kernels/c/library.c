/* The exported functions of the library: each picks the code for the processor that it runs on.

   Levels, as in ravine/kernels/library.py: what every processor of the kind has, AVX2 with FMA,
   AVX-512, AVX-512 with products of bfloat16, AMX tiles beside those; and, for tests, AVX-512
   with emulated tiles. */

#include <stdint.h>

#if defined(RAVINE_BFLOAT16)
#include <cpuid.h>
#endif
#if defined(RAVINE_AMX)
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include "convolve.h"
#include "depthwise.h"
#include "digest.h"
#include "inference.h"
#include "norm.h"
#include "pixels.h"
#include "pool.h"
#include "response.h"
#include "steps.h"
#include "weights.h"

#if defined(_WIN32)
#define EXPORT __declspec(dllexport)
#else
#define EXPORT __attribute__((visibility("default")))
#endif

#define DECLARE(level)                                                                           \
    void step_##level(int32_t, struct tensor *, int64_t, const struct piece *, const int64_t *, \
                      int64_t, const double *, int32_t, int32_t);                                \
    void squares_##level(const struct tensor *, int64_t, const struct piece *, const int64_t *, \
                         int64_t, double *, double *, int32_t);                                \
    void pixels_to_values_##level(const struct pixels *, int32_t);                               \
    void take_digests_##level(const struct digest *, int32_t);                                   \
    DECLARE_FOR(level)                                                                           \
    DECLARE_FOR(f32_##level)

/* What is there once for images in bfloat16 and once, with f32, in float32. */
#define DECLARE_FOR(type)                                                                        \
    void norm_forward_##type(const struct norm *, int32_t);                                      \
    void norm_backward_##type(const struct norm *, int32_t);                                     \
    void pool_forward_##type(const struct pool *, int32_t);                                      \
    void pool_backward_##type(const struct pool *, int32_t);                                     \
    void take_windows_##type(const struct window *, int32_t);                                    \
    int32_t response_forward_##type(const struct response *, int32_t);                           \
    int32_t response_backward_##type(const struct response *, int32_t);                          \
    int32_t depthwise_gradient_##type(const struct depthwise *, int32_t);

enum { BASE, AVX2, AVX512, AVX512_BF16, AMX, EMULATED_AMX };

DECLARE(base)
#if defined(RAVINE_X86)
DECLARE(avx2)
DECLARE(avx512)
#endif
#if defined(RAVINE_BFLOAT16)
DECLARE(avx512bf16)
#endif
#if defined(RAVINE_AMX)
DECLARE(amx)
int32_t weight_gradient_amx(const struct weights *, int32_t);
int32_t convolve_amx(const struct convolution *, int32_t);
#endif
#if defined(RAVINE_X86)
int32_t weight_gradient_emulated(const struct weights *, int32_t);
int32_t convolve_emulated(const struct convolution *, int32_t);
#endif

#define DECLARE_CONVOLUTION(way, kind, level)                                  \
    int32_t way##_##kind##_convolve_##level(const struct convolution *, int32_t); \
    int64_t way##_##kind##_kernel_bytes_##level(const struct convolution *, int32_t); \
    int32_t way##_##kind##_weight_gradient_##level(const struct weights *, int32_t);

DECLARE_CONVOLUTION(direct, f32, base)
DECLARE_CONVOLUTION(winograd4, f32, base)
#if defined(RAVINE_X86)
DECLARE_CONVOLUTION(direct, f32, avx2)
DECLARE_CONVOLUTION(winograd4, f32, avx2)
DECLARE_CONVOLUTION(direct, f32, avx512)
DECLARE_CONVOLUTION(winograd4, f32, avx512)
#endif
#if defined(RAVINE_BFLOAT16)
DECLARE_CONVOLUTION(direct, bf16, avx512bf16)
DECLARE_CONVOLUTION(winograd2, bf16, avx512bf16)
DECLARE_CONVOLUTION(winograd4, bf16, avx512bf16)
#endif

#define DECLARE_FORWARD(way, kind, level)                                         \
    int32_t way##_##kind##_convolve_##level(const struct convolution *, int32_t); \
    int64_t way##_##kind##_kernel_bytes_##level(const struct convolution *, int32_t);

DECLARE_FORWARD(product, f32, base)
DECLARE_FORWARD(winograd2, f32, base)
#if defined(RAVINE_X86)
DECLARE_FORWARD(product, f32, avx2)
DECLARE_FORWARD(winograd2, f32, avx2)
DECLARE_FORWARD(product, f32, avx512)
DECLARE_FORWARD(winograd2, f32, avx512)
#endif
#if defined(RAVINE_BFLOAT16)
DECLARE_FORWARD(product, bf16, avx512bf16)
#endif

int32_t run_inference(int32_t level, const struct inference *, int32_t threads);

EXPORT int32_t ravine_version(void)
{
    return RAVINE_VERSION;
}

/* Starts a team of `threads` threads that do nothing, of the thread that calls, and returns how many
   came. They sleep until that thread ends. */
EXPORT int32_t ravine_idle_team(int32_t threads)
{
    int32_t came = 0;
    (void)threads;
#pragma omp parallel num_threads(threads) reduction(+ : came)
    came += 1;
    return came;
}

#if defined(RAVINE_BFLOAT16)
static int has_bfloat16(void)
{
    unsigned a, b, c, d;
    return __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a >> 5 & 1); /* AVX512-BF16 */
}
#endif

#if defined(RAVINE_AMX)
/* Whether the processor has tiles, and the system lets this process use them. */
static int has_tiles(void)
{
    enum { ASK_FOR_STATE = 0x1023, TILE_STATE = 18 }; /* arch_prctl(2) */
    unsigned a, b, c, d;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d))
        return 0;
    int tiles = (d >> 24 & 1) && (d >> 22 & 1); /* AMX-TILE, AMX-BF16 */
    return tiles && syscall(SYS_arch_prctl, ASK_FOR_STATE, TILE_STATE) == 0;
}
#endif

#if defined(RAVINE_X86)
/* The highest level of a processor with AVX-512. */
static int32_t level_of_avx512(void)
{
#if defined(RAVINE_AMX)
    if (has_bfloat16() && has_tiles())
        return AMX;
#endif
#if defined(RAVINE_BFLOAT16)
    if (has_bfloat16())
        return AVX512_BF16;
#endif
    return AVX512;
}
#endif

/* Returns the highest level that this processor and this build have; never the emulated one. */
EXPORT int32_t ravine_level(void)
{
#if defined(RAVINE_X86)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw"))
        return level_of_avx512();
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return AVX2;
#endif
    return BASE;
}

#if defined(RAVINE_AMX)
#define PICK_AMX(name, level) (level) == AMX ? name##_amx:
#else
#define PICK_AMX(name, level)
#endif
#if defined(RAVINE_BFLOAT16)
#define PICK_BFLOAT16(name, level) (level) == AVX512_BF16 ? name##_avx512bf16:
#else
#define PICK_BFLOAT16(name, level)
#endif
#if defined(RAVINE_X86)
#define PICK(name, level)            \
    ((level) == BASE   ? name##_base \
     : (level) == AVX2 ? name##_avx2 \
                       : PICK_BFLOAT16(name, level) PICK_AMX(name, level) name##_avx512)
#else
#define PICK(name, level) ((void)(level), name##_base)
#endif
#define PICK_TYPE(name, level, job) \
    ((job)->is_float32 ? PICK(name##_f32, level) : PICK(name, level))

/* Takes one step of rule number `rule` with every tensor that has a gradient. */
EXPORT void ravine_step(int32_t level, int32_t rule, struct tensor *tensors, int64_t tensor_count,
                      const struct piece *pieces, const int64_t *units, int64_t unit_count,
                      const double *hyper, int32_t flush, int32_t threads)
{
    PICK(step, level)
    (rule, tensors, tensor_count, pieces, units, unit_count, hyper, flush, threads);
}

/* Writes the sum of the squares of each gradient; `partial` has room for one per piece. */
EXPORT void ravine_squares(int32_t level, const struct tensor *tensors, int64_t tensor_count,
                         const struct piece *pieces, const int64_t *units, int64_t unit_count,
                         double *partial, double *sums, int32_t threads)
{
    PICK(squares, level)
    (tensors, tensor_count, pieces, units, unit_count, partial, sums, threads);
}

/* Normalises, adds and activates; fills y, mean, rstd and the running statistics. */
EXPORT void ravine_norm_forward(int32_t level, const struct norm *norm, int32_t threads)
{
    PICK_TYPE(norm_forward, level, norm)(norm, threads);
}

/* Fills dx, dadded, dweight and dbias from dy. */
EXPORT void ravine_norm_backward(int32_t level, const struct norm *norm, int32_t threads)
{
    PICK_TYPE(norm_backward, level, norm)(norm, threads);
}

/* Fills values. */
EXPORT void ravine_pixels_to_values(int32_t level, const struct pixels *pixels, int32_t threads)
{
    PICK(pixels_to_values, level)(pixels, threads);
}

/* Fills y, and index where it is wanted. */
EXPORT void ravine_pool_forward(int32_t level, const struct pool *pool, int32_t threads)
{
    PICK_TYPE(pool_forward, level, pool)(pool, threads);
}

/* Fills dx from dy and index. */
EXPORT void ravine_pool_backward(int32_t level, const struct pool *pool, int32_t threads)
{
    PICK_TYPE(pool_backward, level, pool)(pool, threads);
}

/* Fills y. Returns 0, or 1 without enough memory. */
EXPORT int32_t ravine_response_forward(int32_t level, const struct response *response,
                                     int32_t threads)
{
    return PICK_TYPE(response_forward, level, response)(response, threads);
}

/* Fills dx from x and dy. Returns 0, or 1 without enough memory. */
EXPORT int32_t ravine_response_backward(int32_t level, const struct response *response,
                                      int32_t threads)
{
    return PICK_TYPE(response_backward, level, response)(response, threads);
}

/* Fills dw and dbias. Returns 0, or 1 without enough memory. */
EXPORT int32_t ravine_depthwise_gradient(int32_t level, const struct depthwise *depthwise,
                                         int32_t threads)
{
    return PICK_TYPE(depthwise_gradient, level, depthwise)(depthwise, threads);
}

/* Runs pass `name` of a job directly or by F(m×m, 3×3), or returns 2 where the level or the build
   lacks it. */
#if defined(RAVINE_X86)
#define AT_LEVEL(name, level, job, threads)                \
    ((level) == BASE   ? name##_base(job, threads)         \
     : (level) == AVX2 ? name##_avx2(job, threads)         \
                       : name##_avx512(job, threads))
#else
#define AT_LEVEL(name, level, job, threads) name##_base(job, threads)
#endif
#define BY_VECTORS_FLOAT32(name, level, job, threads)                                        \
    ((job)->algorithm == DIRECT       ? AT_LEVEL(direct_f32_##name, level, job, threads)     \
     : (job)->algorithm == WINOGRAD_4 ? AT_LEVEL(winograd4_f32_##name, level, job, threads)  \
                                      : 2)
#if defined(RAVINE_BFLOAT16)
#define BY_VECTORS_BFLOAT16(name, level, job, threads)                                        \
    ((level) != AVX512_BF16 && (level) != AMX ? 2                                             \
     : (job)->algorithm == DIRECT             ? direct_bf16_##name##_avx512bf16(job, threads) \
     : (job)->algorithm == WINOGRAD_2 ? winograd2_bf16_##name##_avx512bf16(job, threads)      \
     : (job)->algorithm == WINOGRAD_4 ? winograd4_bf16_##name##_avx512bf16(job, threads)      \
                                      : 2)
#else
#define BY_VECTORS_BFLOAT16(name, level, job, threads) 2
#endif
#define BY_VECTORS(name, level, job, threads)                             \
    ((job)->is_float32 ? BY_VECTORS_FLOAT32(name, level, job, threads)    \
                       : BY_VECTORS_BFLOAT16(name, level, job, threads))
/* The same of what an inference alone runs. */
#if defined(RAVINE_BFLOAT16)
#define PRODUCT_BFLOAT16(name, level, job, threads) \
    ((level) != AVX512_BF16 && (level) != AMX ? 2 : product_bf16_##name##_avx512bf16(job, threads))
#else
#define PRODUCT_BFLOAT16(name, level, job, threads) 2
#endif
#define BY_PRODUCTS(name, level, job, threads)                                   \
    ((job)->is_float32 ? AT_LEVEL(product_f32_##name, level, job, threads) \
                       : PRODUCT_BFLOAT16(name, level, job, threads))

#define RUNS_FORWARD_ALONE(job) \
    ((job)->algorithm == PRODUCT || ((job)->algorithm == WINOGRAD_2 && (job)->is_float32))
#define FORWARD_ALONE(name, level, job, threads)                               \
    ((job)->algorithm == PRODUCT ? BY_PRODUCTS(name, level, job, threads)      \
                                 : AT_LEVEL(winograd2_f32_##name, level, job, threads))

/* Fills the gradient of a convolution's weights. Returns 0, 1 without enough memory, 2 where the
   level lacks the algorithm. */
EXPORT int32_t ravine_weight_gradient(int32_t level, const struct weights *weights, int32_t threads)
{
    if (weights->algorithm != TILES)
        return BY_VECTORS(weight_gradient, level, weights, threads);
#if defined(RAVINE_AMX)
    if (level == AMX)
        return weight_gradient_amx(weights, threads);
#endif
#if defined(RAVINE_X86)
    if (level == EMULATED_AMX)
        return weight_gradient_emulated(weights, threads);
#endif
    (void)level, (void)weights, (void)threads;
    return 2;
}

/* Fills y with a convolution, or with its input gradient. Returns 0, 1 without enough memory, 2
   where the level lacks the algorithm. */
EXPORT int32_t ravine_convolve(int32_t level, const struct convolution *convolution, int32_t threads)
{
    if (RUNS_FORWARD_ALONE(convolution))
        return FORWARD_ALONE(convolve, level, convolution, threads);
    if (convolution->algorithm != TILES)
        return BY_VECTORS(convolve, level, convolution, threads);
#if defined(RAVINE_AMX)
    if (level == AMX)
        return convolve_amx(convolution, threads);
#endif
#if defined(RAVINE_X86)
    if (level == EMULATED_AMX)
        return convolve_emulated(convolution, threads);
#endif
    (void)level, (void)convolution, (void)threads;
    return 2;
}

/* Returns the bytes of a convolution's kernels as its products read them: of the algorithms that
   can keep them, else 2. */
EXPORT int64_t ravine_kernel_bytes(int32_t level, const struct convolution *convolution)
{
    (void)level;
    if (RUNS_FORWARD_ALONE(convolution))
        return FORWARD_ALONE(kernel_bytes, level, convolution, 1);
    return BY_VECTORS(kernel_bytes, level, convolution, 1);
}

/* Fills digests. */
EXPORT void ravine_digest(int32_t level, const struct digest *digest, int32_t threads)
{
    PICK(take_digests, level)(digest, threads);
}

/* For inference.c. */
void take_windows_at(int32_t level, const struct window *window, int32_t threads)
{
    PICK_TYPE(take_windows, level, window)(window, threads);
}

/* Runs the steps of a network's forward pass. Returns 0, 1 without enough memory, 2 where the level
   lacks an algorithm. */
EXPORT int32_t ravine_inference(int32_t level, const struct inference *inference, int32_t threads)
{
    return run_inference(level, inference, threads);
}
