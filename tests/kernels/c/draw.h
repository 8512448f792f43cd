/* Random numbers from a fixed seed, and buffers of exactly the size that is asked for, so that the
   address sanitizer sees any byte too far. */

#ifndef RAVINE_TEST_DRAW_H
#define RAVINE_TEST_DRAW_H

#include <stddef.h>
#include <stdint.h>

/* Begins a sequence of its own. */
void seed(uint64_t value);

/* Of [least, most]. */
int64_t draw_integer(int64_t least, int64_t most);

/* 0, or 1 with so many percent. */
int draw_chance(int percent);

/* Of a distribution with this mean and standard deviation. */
double draw_normal(double mean, double spread);

/* A buffer full of NaN; `release_all` frees it. Ends the process without memory. */
void *allocate(size_t bytes);
void *allocate_zeros(size_t bytes);
void *copy_of(const void *from, size_t bytes);
void release_all(void);

/* Images of n elements in bfloat16 or float32. */
size_t size_of(int64_t n, int is_float32);
void *new_images(int64_t n, int is_float32);
void *draw_images(int64_t n, int is_float32, double mean, double spread);
float *draw_floats(int64_t n, double mean, double spread);
double *new_doubles(int64_t n);

/* Element i of images. */
double element_at(const void *images, int is_float32, int64_t i);
double *to_doubles(const void *images, int is_float32, int64_t n);
double *floats_to_doubles(const float *floats, int64_t n);
float *to_floats(const double *doubles, int64_t n);

#endif
