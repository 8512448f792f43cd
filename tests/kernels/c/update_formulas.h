/* The update rules as one reads them in docs/methods, in double precision. */

#ifndef RAVINE_TEST_UPDATE_FORMULAS_H
#define RAVINE_TEST_UPDATE_FORMULAS_H

#include <stdint.h>

enum method { MOMENTUM, NESTEROV, ADAGRAD, RMSPROP, ADAM, LECTURE, DOZAT_CONSTANT, DOZAT, KERAS };

struct update_formula {
    const char *name;
    enum method method;
    int is_eps_in_root, states, keeps_product;
};

/* In the order of ravine/kernels/variants.py. */
extern const struct update_formula UPDATE_FORMULAS[];
enum { UPDATE_FORMULA_COUNT = 16 };

/* Takes step k ≥ 1 of one element with gradient g and a row of hyperparameters; returns the
   product of the momenta. */
double take_step(const struct update_formula *rule, const double *hyper, int64_t k, double mu,
                 double g, double *w, double *const *states);

#endif
