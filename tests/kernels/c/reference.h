/* Convolutions, their gradients and norms as plain loops in double precision. */

#ifndef RAVINE_TEST_REFERENCE_H
#define RAVINE_TEST_REFERENCE_H

#include <stdint.h>

/* x (images, height, width, in), w (out, kernel, kernel, in), y (images, out_height, out_width,
   out). */
struct layer {
    int64_t images, height, width, in, out_height, out_width, out, kernel, stride, padding;
};

/* Draws a layer: 1×1 images, odd sizes, one image, padding larger than the image, now and then
   so many images or so large ones that they take several blocks. */
struct layer draw_layer(int is_winograd);

int64_t inputs_of(const struct layer *l);  /* elements of x */
int64_t outputs_of(const struct layer *l); /* elements of y */
int64_t weights_of(const struct layer *l); /* elements of w */

/* Each adds to its last argument. */
void add_convolution(const struct layer *l, const double *x, const double *w, double *y);
void add_input_gradient(const struct layer *l, const double *dy, const double *w, double *dx);
void add_weight_gradient(const struct layer *l, const double *dy, const double *x, double *dw);

/* A norm of `channels`: z = (x − mean)·rstd·weight + bias, of float32 numbers. */
struct affine {
    const float *mean, *rstd, *weight, *bias;
};

struct affine draw_affine(int64_t channels);

/* z of element x of channel c. */
double affine_of(const struct affine *a, int64_t c, double x);

/* Replaces n elements x by the norm of them, with a ReLU after it or not. */
void apply_affine(const struct affine *a, int64_t channels, int relu, double *x, int64_t n);

#endif
