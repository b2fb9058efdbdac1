/* Sums over a real-space grid for all k points at once; lcao_sums.py says what and calls it. N functions an atom.

   Points of the grid are divided into stretches in which the same functions are alive: at stretch s, which begins where
   the one before ended, `ends[s]` is its end, after which function `event` begins (event >= 0) or ends (-1 - event). */

#include <stdlib.h>
#include <string.h>

typedef struct {
    int stretches, functions, images, orbitals;
    const int *ends, *events;                            /* a stretch */
    const int *image, *place, *width;                    /* a function: of which image, where in its atom, components */
    const double *const *values;                         /* a function: (its points, width) */
    const int *first, *cell;                             /* an image: its atom's first orbital, its cell */
} Functions;

/* The block of the matrix between two images, cells[a] >= cells[b]. */
static inline const double *block(const Functions *f, const double *matrices, int a, int b)
{
    size_t n = f->orbitals;
    return matrices + ((size_t)(f->cell[a] - f->cell[b]) * n + f->first[a]) * n + f->first[b];
}

/* One pass, with matrices of shape (cells, orbitals, orbitals). Without slopes: the density is added to the grid. With
   slopes, like f->values: the grid is the potential times the volume of a point, and to result, of shape (orbitals,), are
   added the slopes times potential times all functions. Returns nonzero without memory. */
int lcao_sum(const Functions *f, const double *matrices, double *grid, const double *const *slopes, double *result)
{
    size_t stride = f->orbitals;
    int *at = calloc(f->functions, sizeof(int)), *alive = malloc(f->functions * sizeof(int));
    int *count = calloc(f->images, sizeof(int)), *shown = malloc(f->images * sizeof(int));
    double (*v)[N] = malloc(f->images * sizeof(*v)), (*d)[N] = malloc(f->images * sizeof(*d));
    double (*y)[N] = malloc(f->images * sizeof(*y));
    int failed = !at || !alive || !count || !shown || !v || !d || !y, living = 0, images = 0, begin = 0;

    for (int s = 0; s < f->stretches && !failed; s++) {
        int end = f->ends[s], event = f->events[s];
        for (int g = begin; g < end; g++) {
            for (int i = 0; i < images; i++) {
                memset(v[shown[i]], 0, sizeof(*v));
                memset(d[shown[i]], 0, sizeof(*d));
                memset(y[shown[i]], 0, sizeof(*y));
            }
            for (int i = 0; i < living; i++) {
                int w = alive[i], n = f->width[w];
                memcpy(v[f->image[w]] + f->place[w], f->values[w] + (size_t)at[w] * n, n * sizeof(double));
                if (slopes)
                    memcpy(d[f->image[w]] + f->place[w], slopes[w] + (size_t)at[w] * n, n * sizeof(double));
                at[w]++;
            }
            double sum = 0;
            for (int i = 0; i < images; i++)
                for (int j = 0; j <= i; j++) {
                    int a = shown[i], b = shown[j];
                    if (f->cell[a] < f->cell[b]) { a = shown[j]; b = shown[i]; }
                    const double *m = block(f, matrices, a, b);
                    double t[N] = {0}, part = 0;
                    for (int k = 0; k < N; k++)
                        for (int l = 0; l < N; l++) t[l] += v[a][k] * m[k * stride + l];
                    if (!slopes) {
                        for (int l = 0; l < N; l++) part += t[l] * v[b][l];
                        sum += a == b ? part : 2 * part;
                        continue;
                    }
                    for (int l = 0; l < N; l++) y[b][l] += t[l];
                    if (a != b)
                        for (int k = 0; k < N; k++)
                            for (int l = 0; l < N; l++) y[a][k] += m[k * stride + l] * v[b][l];
                }
            if (!slopes) grid[g] += sum;
            if (slopes)
                for (int i = 0; i < images; i++)
                    for (int k = 0; k < N; k++)
                        result[f->first[shown[i]] + k] += grid[g] * d[shown[i]][k] * y[shown[i]][k];
        }
        begin = end;
        if (event >= 0) {
            alive[living++] = event;
            if (count[f->image[event]]++ == 0) shown[images++] = f->image[event];
        } else {
            event = -1 - event;
            for (int i = 0; i < living; i++)
                if (alive[i] == event) { alive[i] = alive[--living]; break; }
            if (--count[f->image[event]] == 0)
                for (int i = 0; i < images; i++)
                    if (shown[i] == f->image[event]) { shown[i] = shown[--images]; break; }
        }
    }
    free(at); free(alive); free(count); free(shown); free(v); free(d); free(y);
    return failed;
}
