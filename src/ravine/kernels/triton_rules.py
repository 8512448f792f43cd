"""Written by `make kernels` from the update rules of ravine/optim, not by hand.

Each takes float64 numbers and float32 blocks, and returns the new weights, the new state and
the new product of the momenta.
"""

import triton
import triton.language as tl


@triton.jit
def POW(base, exponent):
    """A number of at least 0 to the power of a number above 0, float64."""
    power = tl.exp2(exponent * tl.log2(tl.where(base > 0, base, 1.0)))
    return tl.where(base > 0, power, 0.0)


@triton.jit
def SQRT(x):
    """The square root, correctly rounded: tl.sqrt is not in float32."""
    return tl.sqrt_rn(x) if x.dtype == tl.float32 else tl.sqrt(x)


@triton.jit
def RATIO(x, y):
    """A quotient of float32, correctly rounded: / is not."""
    return tl.div_rn(x, y)


@triton.jit
def AT_LEAST(x, limit):
    """The larger of two; NaN stays NaN."""
    return tl.where(x < limit, limit, x)


@triton.jit
def AT_MOST(x, limit):
    """The smaller of two; NaN stays NaN."""
    return tl.where(x > limit, limit, x)


@triton.jit
def momentum(lr, coupled, decoupled, gamma, alpha, eps, scale, k, mu, w, g, v):
    """The rule `momentum`."""
    n0 = lr * decoupled
    n1 = 1.0 - n0
    n2 = 1.0 - gamma
    n3 = 1.0 - n2
    n4 = SQRT(scale)
    n5 = -lr
    c0 = n1.to(tl.float32)
    c1 = n3.to(tl.float32)
    c2 = n4.to(tl.float32)
    c3 = coupled.to(tl.float32)
    c4 = n2.to(tl.float32)
    c5 = n5.to(tl.float32)
    e0 = w * c0
    e1 = v * c1
    e2 = g * c2
    e3 = e2 * c2
    e4 = w * c3
    e5 = e3 + e4
    e6 = e5 * c4
    e7 = e1 + e6
    e8 = e7 * c5
    e9 = e0 + e8
    return e9, e7, mu


@triton.jit
def nesterov(lr, coupled, decoupled, gamma, alpha, eps, scale, k, mu, w, g, v):
    """The rule `nesterov`."""
    n0 = lr * decoupled
    n1 = 1.0 - n0
    n2 = 1.0 - gamma
    n3 = 1.0 - n2
    n4 = SQRT(scale)
    n5 = 1.0 - gamma
    n6 = 1.0 - n5
    n7 = -lr
    c0 = n1.to(tl.float32)
    c1 = n3.to(tl.float32)
    c2 = n4.to(tl.float32)
    c3 = coupled.to(tl.float32)
    c4 = n2.to(tl.float32)
    c5 = n6.to(tl.float32)
    c6 = n5.to(tl.float32)
    c7 = n7.to(tl.float32)
    e0 = w * c0
    e1 = v * c1
    e2 = g * c2
    e3 = e2 * c2
    e4 = w * c3
    e5 = e3 + e4
    e6 = e5 * c4
    e7 = e1 + e6
    e8 = e7 * c5
    e9 = e5 * c6
    e10 = e8 + e9
    e11 = e10 * c7
    e12 = e0 + e11
    return e12, e7, mu


@triton.jit
def adagrad_eps_in_root(lr, coupled, decoupled, gamma, alpha, eps, scale, k, mu, w, g, G):
    """The rule `adagrad_eps_in_root`."""
    n0 = lr * decoupled
    n1 = 1.0 - n0
    n2 = SQRT(scale)
    n3 = -lr
    c0 = n1.to(tl.float32)
    c1 = n2.to(tl.float32)
    c2 = coupled.to(tl.float32)
    c3 = eps.to(tl.float32)
    c4 = n3.to(tl.float32)
    e0 = w * c0
    e1 = g * c1
    e2 = e1 * c1
    e3 = w * c2
    e4 = e2 + e3
    e5 = AT_LEAST(e4, -5.7646073512355405e+17)
    e6 = AT_MOST(e5, 5.7646073512355405e+17)
    e7 = e6 * e6
    e8 = G + e7
    e9 = AT_MOST(e8, 3.4028234663852886e+38)
    e10 = e9 + c3
    e11 = SQRT(e10)
    e12 = RATIO(e6, e11)
    e13 = e12 * c4
    e14 = e0 + e13
    return e14, e9, mu


@triton.jit
def rmsprop_eps_in_root(lr, coupled, decoupled, gamma, alpha, eps, scale, k, mu, w, g, G):
    """The rule `rmsprop_eps_in_root`."""
    n0 = lr * decoupled
    n1 = 1.0 - n0
    n2 = SQRT(scale)
    n3 = 1.0 - alpha
    n4 = -lr
    c0 = n1.to(tl.float32)
    c1 = n2.to(tl.float32)
    c2 = coupled.to(tl.float32)
    c3 = alpha.to(tl.float32)
    c4 = n3.to(tl.float32)
    c5 = eps.to(tl.float32)
    c6 = n4.to(tl.float32)
    e0 = w * c0
    e1 = g * c1
    e2 = e1 * c1
    e3 = w * c2
    e4 = e2 + e3
    e5 = AT_LEAST(e4, -5.7646073512355405e+17)
    e6 = AT_MOST(e5, 5.7646073512355405e+17)
    e7 = G * c3
    e8 = e6 * c4
    e9 = e8 * e6
    e10 = e7 + e9
    e11 = e10 + c5
    e12 = SQRT(e11)
    e13 = RATIO(e6, e12)
    e14 = e13 * c6
    e15 = e0 + e14
    return e15, e10, mu


@triton.jit
def adam_eps_in_root(lr, coupled, decoupled, gamma, alpha, eps, scale, k, mu, w, g, v, G):
    """The rule `adam_eps_in_root`."""
    n0 = lr * decoupled
    n1 = 1.0 - n0
    n2 = 1.0 - gamma
    n3 = 1.0 - n2
    n4 = SQRT(scale)
    n5 = 1.0 - alpha
    n6 = POW(alpha, k)
    n7 = 1.0 - n6
    n8 = eps * n7
    n9 = POW(gamma, k)
    n10 = 1.0 - n9
    n11 = SQRT(n7)
    n12 = n10 / n11
    n13 = -lr
    c0 = n1.to(tl.float32)
    c1 = n3.to(tl.float32)
    c2 = n4.to(tl.float32)
    c3 = coupled.to(tl.float32)
    c4 = n2.to(tl.float32)
    c5 = alpha.to(tl.float32)
    c6 = n5.to(tl.float32)
    c7 = n8.to(tl.float32)
    c8 = n12.to(tl.float32)
    c9 = n13.to(tl.float32)
    e0 = w * c0
    e1 = v * c1
    e2 = g * c2
    e3 = e2 * c2
    e4 = w * c3
    e5 = e3 + e4
    e6 = AT_LEAST(e5, -5.7646073512355405e+17)
    e7 = AT_MOST(e6, 5.7646073512355405e+17)
    e8 = e7 * c4
    e9 = e1 + e8
    e10 = G * c5
    e11 = e7 * c6
    e12 = e11 * e7
    e13 = e10 + e12
    e14 = e13 + c7
    e15 = SQRT(e14)
    e16 = e15 * c8
    e17 = RATIO(e9, e16)
    e18 = e17 * c9
    e19 = e0 + e18
    return e19, e9, e13, mu


@triton.jit
def nadam_lecture_eps_in_root(lr, coupled, decoupled, gamma, alpha, eps, scale, k, mu, w, g, v, G):
    """The rule `nadam_lecture_eps_in_root`."""
    n0 = lr * decoupled
    n1 = 1.0 - n0
    n2 = 1.0 - gamma
    n3 = 1.0 - n2
    n4 = SQRT(scale)
    n5 = POW(gamma, k)
    n6 = 1.0 - n5
    n7 = gamma / n6
    n8 = 1.0 - gamma
    n9 = POW(gamma, k)
    n10 = 1.0 - n9
    n11 = n8 / n10
    n12 = n7 / n11
    n13 = 1.0 - alpha
    n14 = POW(alpha, k)
    n15 = 1.0 - n14
    n16 = eps * n15
    n17 = 1.0 / n11
    n18 = SQRT(n15)
    n19 = n17 / n18
    n20 = -lr
    c0 = n1.to(tl.float32)
    c1 = n3.to(tl.float32)
    c2 = n4.to(tl.float32)
    c3 = coupled.to(tl.float32)
    c4 = n2.to(tl.float32)
    c5 = n12.to(tl.float32)
    c6 = alpha.to(tl.float32)
    c7 = n13.to(tl.float32)
    c8 = n16.to(tl.float32)
    c9 = n19.to(tl.float32)
    c10 = n20.to(tl.float32)
    e0 = w * c0
    e1 = v * c1
    e2 = g * c2
    e3 = e2 * c2
    e4 = w * c3
    e5 = e3 + e4
    e6 = AT_LEAST(e5, -5.7646073512355405e+17)
    e7 = AT_MOST(e6, 5.7646073512355405e+17)
    e8 = e7 * c4
    e9 = e1 + e8
    e10 = e9 * c5
    e11 = e7 * 1.0
    e12 = e10 + e11
    e13 = G * c6
    e14 = e7 * c7
    e15 = e14 * e7
    e16 = e13 + e15
    e17 = e16 + c8
    e18 = SQRT(e17)
    e19 = e18 * c9
    e20 = RATIO(e12, e19)
    e21 = e20 * c10
    e22 = e0 + e21
    return e22, e9, e16, mu


@triton.jit
def nadam_dozat_constant_eps_in_root(lr, coupled, decoupled, gamma, alpha, eps, scale, k, mu, w, g, v, G):
    """The rule `nadam_dozat_constant_eps_in_root`."""
    n0 = lr * decoupled
    n1 = 1.0 - n0
    n2 = 1.0 - gamma
    n3 = 1.0 - n2
    n4 = SQRT(scale)
    n5 = k + 1.0
    n6 = POW(gamma, n5)
    n7 = 1.0 - n6
    n8 = gamma / n7
    n9 = 1.0 - gamma
    n10 = POW(gamma, k)
    n11 = 1.0 - n10
    n12 = n9 / n11
    n13 = n8 / n12
    n14 = 1.0 - alpha
    n15 = POW(alpha, k)
    n16 = 1.0 - n15
    n17 = eps * n16
    n18 = 1.0 / n12
    n19 = SQRT(n16)
    n20 = n18 / n19
    n21 = -lr
    c0 = n1.to(tl.float32)
    c1 = n3.to(tl.float32)
    c2 = n4.to(tl.float32)
    c3 = coupled.to(tl.float32)
    c4 = n2.to(tl.float32)
    c5 = n13.to(tl.float32)
    c6 = alpha.to(tl.float32)
    c7 = n14.to(tl.float32)
    c8 = n17.to(tl.float32)
    c9 = n20.to(tl.float32)
    c10 = n21.to(tl.float32)
    e0 = w * c0
    e1 = v * c1
    e2 = g * c2
    e3 = e2 * c2
    e4 = w * c3
    e5 = e3 + e4
    e6 = AT_LEAST(e5, -5.7646073512355405e+17)
    e7 = AT_MOST(e6, 5.7646073512355405e+17)
    e8 = e7 * c4
    e9 = e1 + e8
    e10 = e9 * c5
    e11 = e7 * 1.0
    e12 = e10 + e11
    e13 = G * c6
    e14 = e7 * c7
    e15 = e14 * e7
    e16 = e13 + e15
    e17 = e16 + c8
    e18 = SQRT(e17)
    e19 = e18 * c9
    e20 = RATIO(e12, e19)
    e21 = e20 * c10
    e22 = e0 + e21
    return e22, e9, e16, mu


@triton.jit
def nadam_dozat_eps_in_root(lr, coupled, decoupled, gamma, alpha, eps, scale, k, mu, w, g, v, G):
    """The rule `nadam_dozat_eps_in_root`."""
    n0 = lr * decoupled
    n1 = 1.0 - n0
    n2 = 1.0 - gamma
    n3 = 1.0 - n2
    n4 = SQRT(scale)
    n5 = k + 1.0
    n6 = n5 * 0.004
    n7 = POW((k * 0 + 0.96), n6)
    n8 = 0.5 * n7
    n9 = 1.0 - n8
    n10 = gamma * n9
    n11 = k * 0.004
    n12 = POW((k * 0 + 0.96), n11)
    n13 = 0.5 * n12
    n14 = 1.0 - n13
    n15 = gamma * n14
    n16 = mu * n15
    n17 = n16 * n10
    n18 = 1.0 - n17
    n19 = n10 / n18
    n20 = 1.0 - n15
    n21 = 1.0 - n16
    n22 = n20 / n21
    n23 = n19 / n22
    n24 = 1.0 - alpha
    n25 = POW(alpha, k)
    n26 = 1.0 - n25
    n27 = eps * n26
    n28 = 1.0 / n22
    n29 = SQRT(n26)
    n30 = n28 / n29
    n31 = -lr
    c0 = n1.to(tl.float32)
    c1 = n3.to(tl.float32)
    c2 = n4.to(tl.float32)
    c3 = coupled.to(tl.float32)
    c4 = n2.to(tl.float32)
    c5 = n23.to(tl.float32)
    c6 = alpha.to(tl.float32)
    c7 = n24.to(tl.float32)
    c8 = n27.to(tl.float32)
    c9 = n30.to(tl.float32)
    c10 = n31.to(tl.float32)
    e0 = w * c0
    e1 = v * c1
    e2 = g * c2
    e3 = e2 * c2
    e4 = w * c3
    e5 = e3 + e4
    e6 = AT_LEAST(e5, -5.7646073512355405e+17)
    e7 = AT_MOST(e6, 5.7646073512355405e+17)
    e8 = e7 * c4
    e9 = e1 + e8
    e10 = e9 * c5
    e11 = e7 * 1.0
    e12 = e10 + e11
    e13 = G * c6
    e14 = e7 * c7
    e15 = e14 * e7
    e16 = e13 + e15
    e17 = e16 + c8
    e18 = SQRT(e17)
    e19 = e18 * c9
    e20 = RATIO(e12, e19)
    e21 = e20 * c10
    e22 = e0 + e21
    return e22, e9, e16, n16


@triton.jit
def nadam_keras_eps_in_root(lr, coupled, decoupled, gamma, alpha, eps, scale, k, mu, w, g, v, G):
    """The rule `nadam_keras_eps_in_root`."""
    n0 = lr * decoupled
    n1 = 1.0 - n0
    n2 = 1.0 - gamma
    n3 = 1.0 - n2
    n4 = SQRT(scale)
    n5 = k + 1.0
    n6 = n5 * 1.0
    n7 = POW((k * 0 + 0.96), n6)
    n8 = 0.5 * n7
    n9 = 1.0 - n8
    n10 = gamma * n9
    n11 = k * 1.0
    n12 = POW((k * 0 + 0.96), n11)
    n13 = 0.5 * n12
    n14 = 1.0 - n13
    n15 = gamma * n14
    n16 = mu * n15
    n17 = n16 * n10
    n18 = 1.0 - n17
    n19 = n10 / n18
    n20 = 1.0 - n15
    n21 = 1.0 - n16
    n22 = n20 / n21
    n23 = n19 / n22
    n24 = 1.0 - alpha
    n25 = POW(alpha, k)
    n26 = 1.0 - n25
    n27 = eps * n26
    n28 = 1.0 / n22
    n29 = SQRT(n26)
    n30 = n28 / n29
    n31 = -lr
    c0 = n1.to(tl.float32)
    c1 = n3.to(tl.float32)
    c2 = n4.to(tl.float32)
    c3 = coupled.to(tl.float32)
    c4 = n2.to(tl.float32)
    c5 = n23.to(tl.float32)
    c6 = alpha.to(tl.float32)
    c7 = n24.to(tl.float32)
    c8 = n27.to(tl.float32)
    c9 = n30.to(tl.float32)
    c10 = n31.to(tl.float32)
    e0 = w * c0
    e1 = v * c1
    e2 = g * c2
    e3 = e2 * c2
    e4 = w * c3
    e5 = e3 + e4
    e6 = AT_LEAST(e5, -5.7646073512355405e+17)
    e7 = AT_MOST(e6, 5.7646073512355405e+17)
    e8 = e7 * c4
    e9 = e1 + e8
    e10 = e9 * c5
    e11 = e7 * 1.0
    e12 = e10 + e11
    e13 = G * c6
    e14 = e7 * c7
    e15 = e14 * e7
    e16 = e13 + e15
    e17 = e16 + c8
    e18 = SQRT(e17)
    e19 = e18 * c9
    e20 = RATIO(e12, e19)
    e21 = e20 * c10
    e22 = e0 + e21
    return e22, e9, e16, n16


@triton.jit
def adagrad(lr, coupled, decoupled, gamma, alpha, eps, scale, k, mu, w, g, G):
    """The rule `adagrad`."""
    n0 = lr * decoupled
    n1 = 1.0 - n0
    n2 = SQRT(scale)
    n3 = eps * 1.0
    n4 = -lr
    c0 = n1.to(tl.float32)
    c1 = n2.to(tl.float32)
    c2 = coupled.to(tl.float32)
    c3 = n3.to(tl.float32)
    c4 = n4.to(tl.float32)
    e0 = w * c0
    e1 = g * c1
    e2 = e1 * c1
    e3 = w * c2
    e4 = e2 + e3
    e5 = AT_LEAST(e4, -5.7646073512355405e+17)
    e6 = AT_MOST(e5, 5.7646073512355405e+17)
    e7 = e6 * e6
    e8 = G + e7
    e9 = AT_MOST(e8, 3.4028234663852886e+38)
    e10 = SQRT(e9)
    e11 = e10 + c3
    e12 = RATIO(e6, e11)
    e13 = e12 * c4
    e14 = e0 + e13
    return e14, e9, mu


@triton.jit
def rmsprop(lr, coupled, decoupled, gamma, alpha, eps, scale, k, mu, w, g, G):
    """The rule `rmsprop`."""
    n0 = lr * decoupled
    n1 = 1.0 - n0
    n2 = SQRT(scale)
    n3 = 1.0 - alpha
    n4 = eps * 1.0
    n5 = -lr
    c0 = n1.to(tl.float32)
    c1 = n2.to(tl.float32)
    c2 = coupled.to(tl.float32)
    c3 = alpha.to(tl.float32)
    c4 = n3.to(tl.float32)
    c5 = n4.to(tl.float32)
    c6 = n5.to(tl.float32)
    e0 = w * c0
    e1 = g * c1
    e2 = e1 * c1
    e3 = w * c2
    e4 = e2 + e3
    e5 = AT_LEAST(e4, -5.7646073512355405e+17)
    e6 = AT_MOST(e5, 5.7646073512355405e+17)
    e7 = G * c3
    e8 = e6 * c4
    e9 = e8 * e6
    e10 = e7 + e9
    e11 = SQRT(e10)
    e12 = e11 + c5
    e13 = RATIO(e6, e12)
    e14 = e13 * c6
    e15 = e0 + e14
    return e15, e10, mu


@triton.jit
def adam(lr, coupled, decoupled, gamma, alpha, eps, scale, k, mu, w, g, v, G):
    """The rule `adam`."""
    n0 = lr * decoupled
    n1 = 1.0 - n0
    n2 = 1.0 - gamma
    n3 = 1.0 - n2
    n4 = SQRT(scale)
    n5 = 1.0 - alpha
    n6 = POW(gamma, k)
    n7 = 1.0 - n6
    n8 = POW(alpha, k)
    n9 = 1.0 - n8
    n10 = SQRT(n9)
    n11 = n7 / n10
    n12 = n7 * eps
    n13 = n12 * 1.0
    n14 = -lr
    c0 = n1.to(tl.float32)
    c1 = n3.to(tl.float32)
    c2 = n4.to(tl.float32)
    c3 = coupled.to(tl.float32)
    c4 = n2.to(tl.float32)
    c5 = alpha.to(tl.float32)
    c6 = n5.to(tl.float32)
    c7 = n11.to(tl.float32)
    c8 = n13.to(tl.float32)
    c9 = n14.to(tl.float32)
    e0 = w * c0
    e1 = v * c1
    e2 = g * c2
    e3 = e2 * c2
    e4 = w * c3
    e5 = e3 + e4
    e6 = AT_LEAST(e5, -5.7646073512355405e+17)
    e7 = AT_MOST(e6, 5.7646073512355405e+17)
    e8 = e7 * c4
    e9 = e1 + e8
    e10 = G * c5
    e11 = e7 * c6
    e12 = e11 * e7
    e13 = e10 + e12
    e14 = SQRT(e13)
    e15 = e14 * c7
    e16 = e15 + c8
    e17 = RATIO(e9, e16)
    e18 = e17 * c9
    e19 = e0 + e18
    return e19, e9, e13, mu


@triton.jit
def nadam_lecture(lr, coupled, decoupled, gamma, alpha, eps, scale, k, mu, w, g, v, G):
    """The rule `nadam_lecture`."""
    n0 = lr * decoupled
    n1 = 1.0 - n0
    n2 = 1.0 - gamma
    n3 = 1.0 - n2
    n4 = SQRT(scale)
    n5 = POW(gamma, k)
    n6 = 1.0 - n5
    n7 = gamma / n6
    n8 = 1.0 - gamma
    n9 = POW(gamma, k)
    n10 = 1.0 - n9
    n11 = n8 / n10
    n12 = n7 / n11
    n13 = 1.0 - alpha
    n14 = 1.0 / n11
    n15 = POW(alpha, k)
    n16 = 1.0 - n15
    n17 = SQRT(n16)
    n18 = n14 / n17
    n19 = n14 * eps
    n20 = n19 * 1.0
    n21 = -lr
    c0 = n1.to(tl.float32)
    c1 = n3.to(tl.float32)
    c2 = n4.to(tl.float32)
    c3 = coupled.to(tl.float32)
    c4 = n2.to(tl.float32)
    c5 = n12.to(tl.float32)
    c6 = alpha.to(tl.float32)
    c7 = n13.to(tl.float32)
    c8 = n18.to(tl.float32)
    c9 = n20.to(tl.float32)
    c10 = n21.to(tl.float32)
    e0 = w * c0
    e1 = v * c1
    e2 = g * c2
    e3 = e2 * c2
    e4 = w * c3
    e5 = e3 + e4
    e6 = AT_LEAST(e5, -5.7646073512355405e+17)
    e7 = AT_MOST(e6, 5.7646073512355405e+17)
    e8 = e7 * c4
    e9 = e1 + e8
    e10 = e9 * c5
    e11 = e7 * 1.0
    e12 = e10 + e11
    e13 = G * c6
    e14 = e7 * c7
    e15 = e14 * e7
    e16 = e13 + e15
    e17 = SQRT(e16)
    e18 = e17 * c8
    e19 = e18 + c9
    e20 = RATIO(e12, e19)
    e21 = e20 * c10
    e22 = e0 + e21
    return e22, e9, e16, mu


@triton.jit
def nadam_dozat_constant(lr, coupled, decoupled, gamma, alpha, eps, scale, k, mu, w, g, v, G):
    """The rule `nadam_dozat_constant`."""
    n0 = lr * decoupled
    n1 = 1.0 - n0
    n2 = 1.0 - gamma
    n3 = 1.0 - n2
    n4 = SQRT(scale)
    n5 = k + 1.0
    n6 = POW(gamma, n5)
    n7 = 1.0 - n6
    n8 = gamma / n7
    n9 = 1.0 - gamma
    n10 = POW(gamma, k)
    n11 = 1.0 - n10
    n12 = n9 / n11
    n13 = n8 / n12
    n14 = 1.0 - alpha
    n15 = 1.0 / n12
    n16 = POW(alpha, k)
    n17 = 1.0 - n16
    n18 = SQRT(n17)
    n19 = n15 / n18
    n20 = n15 * eps
    n21 = n20 * 1.0
    n22 = -lr
    c0 = n1.to(tl.float32)
    c1 = n3.to(tl.float32)
    c2 = n4.to(tl.float32)
    c3 = coupled.to(tl.float32)
    c4 = n2.to(tl.float32)
    c5 = n13.to(tl.float32)
    c6 = alpha.to(tl.float32)
    c7 = n14.to(tl.float32)
    c8 = n19.to(tl.float32)
    c9 = n21.to(tl.float32)
    c10 = n22.to(tl.float32)
    e0 = w * c0
    e1 = v * c1
    e2 = g * c2
    e3 = e2 * c2
    e4 = w * c3
    e5 = e3 + e4
    e6 = AT_LEAST(e5, -5.7646073512355405e+17)
    e7 = AT_MOST(e6, 5.7646073512355405e+17)
    e8 = e7 * c4
    e9 = e1 + e8
    e10 = e9 * c5
    e11 = e7 * 1.0
    e12 = e10 + e11
    e13 = G * c6
    e14 = e7 * c7
    e15 = e14 * e7
    e16 = e13 + e15
    e17 = SQRT(e16)
    e18 = e17 * c8
    e19 = e18 + c9
    e20 = RATIO(e12, e19)
    e21 = e20 * c10
    e22 = e0 + e21
    return e22, e9, e16, mu


@triton.jit
def nadam_dozat(lr, coupled, decoupled, gamma, alpha, eps, scale, k, mu, w, g, v, G):
    """The rule `nadam_dozat`."""
    n0 = lr * decoupled
    n1 = 1.0 - n0
    n2 = 1.0 - gamma
    n3 = 1.0 - n2
    n4 = SQRT(scale)
    n5 = k + 1.0
    n6 = n5 * 0.004
    n7 = POW((k * 0 + 0.96), n6)
    n8 = 0.5 * n7
    n9 = 1.0 - n8
    n10 = gamma * n9
    n11 = k * 0.004
    n12 = POW((k * 0 + 0.96), n11)
    n13 = 0.5 * n12
    n14 = 1.0 - n13
    n15 = gamma * n14
    n16 = mu * n15
    n17 = n16 * n10
    n18 = 1.0 - n17
    n19 = n10 / n18
    n20 = 1.0 - n15
    n21 = 1.0 - n16
    n22 = n20 / n21
    n23 = n19 / n22
    n24 = 1.0 - alpha
    n25 = 1.0 / n22
    n26 = POW(alpha, k)
    n27 = 1.0 - n26
    n28 = SQRT(n27)
    n29 = n25 / n28
    n30 = n25 * eps
    n31 = n30 * 1.0
    n32 = -lr
    c0 = n1.to(tl.float32)
    c1 = n3.to(tl.float32)
    c2 = n4.to(tl.float32)
    c3 = coupled.to(tl.float32)
    c4 = n2.to(tl.float32)
    c5 = n23.to(tl.float32)
    c6 = alpha.to(tl.float32)
    c7 = n24.to(tl.float32)
    c8 = n29.to(tl.float32)
    c9 = n31.to(tl.float32)
    c10 = n32.to(tl.float32)
    e0 = w * c0
    e1 = v * c1
    e2 = g * c2
    e3 = e2 * c2
    e4 = w * c3
    e5 = e3 + e4
    e6 = AT_LEAST(e5, -5.7646073512355405e+17)
    e7 = AT_MOST(e6, 5.7646073512355405e+17)
    e8 = e7 * c4
    e9 = e1 + e8
    e10 = e9 * c5
    e11 = e7 * 1.0
    e12 = e10 + e11
    e13 = G * c6
    e14 = e7 * c7
    e15 = e14 * e7
    e16 = e13 + e15
    e17 = SQRT(e16)
    e18 = e17 * c8
    e19 = e18 + c9
    e20 = RATIO(e12, e19)
    e21 = e20 * c10
    e22 = e0 + e21
    return e22, e9, e16, n16


@triton.jit
def nadam_keras(lr, coupled, decoupled, gamma, alpha, eps, scale, k, mu, w, g, v, G):
    """The rule `nadam_keras`."""
    n0 = lr * decoupled
    n1 = 1.0 - n0
    n2 = 1.0 - gamma
    n3 = 1.0 - n2
    n4 = SQRT(scale)
    n5 = k + 1.0
    n6 = n5 * 1.0
    n7 = POW((k * 0 + 0.96), n6)
    n8 = 0.5 * n7
    n9 = 1.0 - n8
    n10 = gamma * n9
    n11 = k * 1.0
    n12 = POW((k * 0 + 0.96), n11)
    n13 = 0.5 * n12
    n14 = 1.0 - n13
    n15 = gamma * n14
    n16 = mu * n15
    n17 = n16 * n10
    n18 = 1.0 - n17
    n19 = n10 / n18
    n20 = 1.0 - n15
    n21 = 1.0 - n16
    n22 = n20 / n21
    n23 = n19 / n22
    n24 = 1.0 - alpha
    n25 = 1.0 / n22
    n26 = POW(alpha, k)
    n27 = 1.0 - n26
    n28 = SQRT(n27)
    n29 = n25 / n28
    n30 = n25 * eps
    n31 = n30 * 1.0
    n32 = -lr
    c0 = n1.to(tl.float32)
    c1 = n3.to(tl.float32)
    c2 = n4.to(tl.float32)
    c3 = coupled.to(tl.float32)
    c4 = n2.to(tl.float32)
    c5 = n23.to(tl.float32)
    c6 = alpha.to(tl.float32)
    c7 = n24.to(tl.float32)
    c8 = n29.to(tl.float32)
    c9 = n31.to(tl.float32)
    c10 = n32.to(tl.float32)
    e0 = w * c0
    e1 = v * c1
    e2 = g * c2
    e3 = e2 * c2
    e4 = w * c3
    e5 = e3 + e4
    e6 = AT_LEAST(e5, -5.7646073512355405e+17)
    e7 = AT_MOST(e6, 5.7646073512355405e+17)
    e8 = e7 * c4
    e9 = e1 + e8
    e10 = e9 * c5
    e11 = e7 * 1.0
    e12 = e10 + e11
    e13 = G * c6
    e14 = e7 * c7
    e15 = e14 * e7
    e16 = e13 + e15
    e17 = SQRT(e16)
    e18 = e17 * c8
    e19 = e18 + c9
    e20 = RATIO(e12, e19)
    e21 = e20 * c10
    e22 = e0 + e21
    return e22, e9, e16, n16
