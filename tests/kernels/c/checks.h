/* One check for each kernel: over levels, types, drawn shapes and numbers of threads. */

#ifndef RAVINE_TEST_CHECKS_H
#define RAVINE_TEST_CHECKS_H

void check_convolve(void);
void check_inference(void);
void check_inference_steps(void);
void check_weight_gradient(void);
void check_norm(void);
void check_pool(void);
void check_response(void);
void check_depthwise(void);
void check_pixels(void);
void check_steps(void);
void check_squares(void);

#endif
