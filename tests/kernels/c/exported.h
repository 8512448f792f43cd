/* The exported functions of the library, as ravine/kernels calls them; they are defined in
   library.c. */

#ifndef RAVINE_TEST_EXPORTED_H
#define RAVINE_TEST_EXPORTED_H

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

enum level { BASE, AVX2, AVX512, AVX512_BF16, AMX, EMULATED_AMX, LEVELS };
enum { DONE, NO_MEMORY, LACKING }; /* what functions return */

int32_t ravine_level(void);
int32_t ravine_convolve(int32_t level, const struct convolution *, int32_t threads);
int64_t ravine_kernel_bytes(int32_t level, const struct convolution *);
int32_t ravine_inference(int32_t level, const struct inference *, int32_t threads);
void ravine_digest(int32_t level, const struct digest *, int32_t threads);
int32_t ravine_weight_gradient(int32_t level, const struct weights *, int32_t threads);
void ravine_norm_forward(int32_t level, const struct norm *, int32_t threads);
void ravine_norm_backward(int32_t level, const struct norm *, int32_t threads);
void ravine_pool_forward(int32_t level, const struct pool *, int32_t threads);
void ravine_pool_backward(int32_t level, const struct pool *, int32_t threads);
int32_t ravine_response_forward(int32_t level, const struct response *, int32_t threads);
int32_t ravine_response_backward(int32_t level, const struct response *, int32_t threads);
int32_t ravine_depthwise_gradient(int32_t level, const struct depthwise *, int32_t threads);
void ravine_pixels_to_values(int32_t level, const struct pixels *, int32_t threads);
void ravine_step(int32_t level, int32_t rule, struct tensor *, int64_t tensor_count,
                 const struct piece *, const int64_t *units, int64_t unit_count,
                 const double *hyper, int32_t flush, int32_t threads);
void ravine_squares(int32_t level, const struct tensor *, int64_t tensor_count,
                    const struct piece *, const int64_t *units, int64_t unit_count,
                    double *partial, double *sums, int32_t threads);

#endif
