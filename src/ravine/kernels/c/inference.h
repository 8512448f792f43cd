/* A network's forward pass as a list of steps that one call runs. */

#ifndef RAVINE_INFERENCE_H
#define RAVINE_INFERENCE_H

#include "convolve.h"
#include "response.h"
#include "window.h"

enum { CONVOLUTION = 0, WINDOW = 1, RESPONSE = 2 };

/* Where a tensor of a step lies: at so many bytes of the workspace, or one of these. */
enum { NOWHERE = -1, IMAGES = -2, RESULT = -3 };

/* ravine/kernels/inference_steps.py has the same layout. One of the three jobs, with its constants; where
   its tensors lie is filled in as the step is run. */
struct step {
    int64_t kind;
    int64_t x, residual, y, second;
    struct convolution convolution;
    struct after after;
    int64_t kernel_bytes; /* of one of the convolution's groups, which lie one after the other */
    struct window window;
    struct response response;
};

/* Groups of images of the same number, one after the other in memory. Of several groups each is one
   thread's, with a workspace of its own; one group is shared among the threads. */
struct inference {
    const struct step *steps;
    int64_t count;
    const char *images;
    char *result;
    char *workspace;         /* of as many threads as there are, or groups where they are fewer */
    int64_t workspace_bytes; /* of one thread */
    int64_t groups, image_bytes, result_bytes; /* of one group */
};

#endif
