/* What the steps work on; ravine/kernels/optimizer_steps.py has the same layout as numpy types. */

#ifndef RAVINE_STEPS_H
#define RAVINE_STEPS_H

#include <stdint.h>

enum { HYPER = 7 }; /* numbers in a row of hyperparameters */

/* A parameter as flat memory. A tensor whose g is null is passed over. */
struct tensor {
    float *w;
    const float *g;
    float *state[2];
    int64_t *k;    /* steps applied so far */
    double *mu;    /* product of the momenta so far, or null */
    int64_t group; /* its row of hyperparameters */
};

/* Some consecutive elements of one tensor; consecutive pieces make a unit of work. */
struct piece {
    int64_t tensor;
    int64_t start;
    int64_t n;
};

#endif
