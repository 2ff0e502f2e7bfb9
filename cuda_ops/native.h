// The whole surface of the native libraries: what Python calls through ctypes (see _native.py).
//
// Every argument is an address, an int64_t or a double, so that no table of types is needed on the other side. Tensors
// are contiguous unless their strides are given (in elements). `dtype` is one of the codes below. Every function ends in
// `threads` (CPU: how many to use), `device` and `stream` (CUDA: where to launch), and returns 0, or another number
// when it failed: then lidar_ebm_error() says why. Boxes are (x, y, z, l, w, h, yaw), z at the centre, m and rad.
#pragma once

#include <stdint.h>

#define LIDAR_EBM_API extern "C" __attribute__((visibility("default")))
#define LIDAR_EBM_CPU_API LIDAR_EBM_API   // in the CPU libraries alone
#define LIDAR_EBM_CUDA_API LIDAR_EBM_API  // in the CUDA library alone
#define LIDAR_EBM_RUN int64_t threads, int64_t device, void *stream

enum { LIDAR_EBM_FLOAT32 = 0, LIDAR_EBM_FLOAT64 = 1, LIDAR_EBM_FLOAT16 = 2, LIDAR_EBM_BFLOAT16 = 3 };

// Number of this surface; see surface.h.
LIDAR_EBM_API int64_t lidar_ebm_surface(void);

// Why the last call of this thread failed.
LIDAR_EBM_API const char *lidar_ebm_error(void);

// ---------------------------------------------------------------------------------------------------- box_overlap

// IoU of boxes a [n, 7] and b [m, 7] of one dtype (float32, float64), from above or of volumes, into iou [n, m] of that
// dtype; or, aligned (m = n), row by row into iou [n]. `scratch` is 11 * (n + m) float64.
LIDAR_EBM_API int lidar_ebm_box_iou(const void *a, const void *b, int64_t dtype, int64_t n, int64_t m, int64_t aligned,
                                    int64_t use_height, void *iou, void *scratch, LIDAR_EBM_RUN);

// Greedy suppression from above of boxes [n, 7] (float32, float64), which take their turns as `order` [n] says, n > 0.
// `frames` and `labels` [n] (each may be null; on CUDA frames are in 0..n-1) part the boxes into groups; a frame keeps
// at most `max_output`. Writes the kept indices, in order, to `kept` [n] and their number to `count` [1]. `scratch` is
// 11 * n words of 8 bytes, and on CUDA n + words + 64 * blocks * words more, words = ceil(n / 64): then bits of
// `blocks` <= words times 64 boxes against all others are held at a time.
LIDAR_EBM_API int lidar_ebm_nms_bev(const void *boxes, const int64_t *order, const int64_t *frames,
                                    const int64_t *labels, int64_t dtype, int64_t n, double iou_threshold,
                                    int64_t max_output, int64_t *kept, int64_t *count, void *scratch, int64_t blocks,
                                    LIDAR_EBM_RUN);

// --------------------------------------------------------------------------------------------------- box_sampling

// A map [frames, channels, height, width] by its sizes and strides, and the grid that each box reads it on.
#define LIDAR_EBM_MAP                                                                                                 \
  int64_t frames, int64_t channels, int64_t height, int64_t width, int64_t frame_stride, int64_t channel_stride,      \
      int64_t row_stride, int64_t column_stride
#define LIDAR_EBM_GRID int64_t across, int64_t along, double origin_x, double origin_y, double cell_x, double cell_y

// The map (any floating dtype) at every grid point of boxes [n, 7] (box_dtype float32 or float64) into
// out [n, channels, across, along]; with `parts`, channel k * points + g at point g alone, averaged, into
// out [n, channels / points]. A box whose frame is not one of the map's reads zero.
LIDAR_EBM_API int lidar_ebm_box_sampling_read(const void *map, int64_t dtype, LIDAR_EBM_MAP, const void *boxes,
                                              int64_t box_dtype, const int64_t *frame_of, int64_t n, LIDAR_EBM_GRID,
                                              int64_t parts, void *out, LIDAR_EBM_RUN);

// The gradient of the above in the boxes, of box_dtype, into box_gradient [n, 7]; gradient is out's, of dtype.
LIDAR_EBM_API int lidar_ebm_box_sampling_grad_boxes(const void *map, int64_t dtype, LIDAR_EBM_MAP, const void *boxes,
                                                    int64_t box_dtype, const int64_t *frame_of, int64_t n,
                                                    LIDAR_EBM_GRID, int64_t parts, const void *gradient,
                                                    void *box_gradient, LIDAR_EBM_RUN);

// The gradient in the map, of dtype, into map_gradient, dense memory with the strides given. CPU: all of it is written,
// in an order of its own. CUDA: added, with atomics, to what is there; float32 and float64 only.
LIDAR_EBM_API int lidar_ebm_box_sampling_grad_map(void *map_gradient, int64_t dtype, LIDAR_EBM_MAP, const void *boxes,
                                                  int64_t box_dtype, const int64_t *frame_of, int64_t n, LIDAR_EBM_GRID,
                                                  int64_t parts, const void *gradient, LIDAR_EBM_RUN);

// CUDA only. The same gradient in an order that does not change from run to run: rows [entries / 4, count] times
// weight [entries] added up for each target, an offset into `into`, where a row's numbers lie `stride` apart. `target`
// [entries] is sorted, negative for an entry that goes nowhere; `order` says which entry each was.
LIDAR_EBM_CUDA_API int lidar_ebm_box_sampling_sum_runs(const void *rows, int64_t dtype, int64_t entries, int64_t count,
                                                  const void *weight, const int64_t *target, const int64_t *order,
                                                  int64_t stride, void *into, LIDAR_EBM_RUN);

// ------------------------------------------------------------------------------------------------------ point_ops

// Points are rows of f numbers, x, y, z first, of float32 or float64 (`dtype`). Boxes [n, 7] that hold points are
// float64, and `margin_*` is added on either side of their length, width and height. A point of frame point_frame[i]
// meets the boxes of that frame; without frames (null, null) all of them.

// Which of points [p, f] lie in which boxes. With `first` the lowest such box of each point into held [p] int64, which
// comes filled with -1; otherwise 1 into held [p, n] uint8, which comes filled with 0. scratch: CUDA only, room for
// [n, 13] float64.
LIDAR_EBM_API int lidar_ebm_points_in_boxes(const void *points, int64_t dtype, int64_t p, int64_t f,
                                            const int64_t *point_frame, const double *boxes, const int64_t *box_frame,
                                            int64_t n, int64_t first, void *held, double *scratch, LIDAR_EBM_RUN);

// Boxes have `columns` numbers, 7 or 9. Those of 9 are moved by their velocity: a point with lag t, its fifth number
// where f > 4, meets the box at centre - velocity * t, and `drift` times t is added to the margins of length and width.
// Of the points in each grown box the k with the lowest hashes of (seed, place among its frame's points), in the order
// of the hashes, into chosen [n, k, f] of the points' dtype, which comes filled with 0; how many the box holds into
// counts [n]. CUDA only: the rows of points by frame, each frame's in their own order, in `order` [p], with their
// frames in point_frame [p]; and room for hashes [n, k] and rows [n, k].
LIDAR_EBM_API int lidar_ebm_gather_near_boxes(const void *points, int64_t dtype, int64_t p, int64_t f,
                                              const int64_t *point_frame, const int64_t *order, const double *boxes,
                                              int64_t columns, const int64_t *box_frame, int64_t n,
                                              double margin_length, double margin_width, double margin_height,
                                              double drift, int64_t k, int64_t seed, void *chosen, int64_t *counts,
                                              int32_t *hashes, int64_t *rows, LIDAR_EBM_RUN);

// Points [v, pc] as candidate boxes [n, s, bc] see them, all of one dtype (float32, float64): pc is 4, or 5 with the
// time lag last, and bc is 7, or 9 with a velocity, by which the box of a point with a lag is moved back. Features
// [n, s, k, 12 + pc], the first k = v / n points being those of box 0 and so on, or, given the box of each point in
// box_index [v], [v, s, 12 + pc]. A point whose index lies outside 0..n is an error, on CUDA it has NaN for features.
// frames: CUDA only, room for [n, s, 10] of the dtype.
LIDAR_EBM_API int lidar_ebm_box_frame_features(const void *points, int64_t pc, const int64_t *box_index,
                                               const void *boxes, int64_t bc, int64_t dtype, int64_t v, int64_t n,
                                               int64_t s, void *features, void *frames, LIDAR_EBM_RUN);

// The gradients to points [v, pc] and to boxes [n, s, bc], each where it is not null, from that to the features. spans:
// CUDA only, room for [n, 2], which comes filled with (v, 0); needed with box_index.
LIDAR_EBM_API int lidar_ebm_box_frame_features_backward(const void *gradient, const void *points, int64_t pc,
                                                        const int64_t *box_index, const void *boxes, int64_t bc,
                                                        int64_t dtype, int64_t v, int64_t n, int64_t s,
                                                        void *points_gradient, void *boxes_gradient, void *frames,
                                                        int64_t *spans, LIDAR_EBM_RUN);

// -------------------------------------------------------------------------------------------------- point_nearest

// Keys that sort points [count, 3] float32 of frames batch [count] along a space-filling curve: by `fine`, then stably
// by `coarse` (both [count] int64; `fine` may be null). window [4] float64: lowest x, y, z and edge of a cube in which
// the keys resolve places.
LIDAR_EBM_API int lidar_ebm_nearest_keys(const void *points, const void *batch, int64_t count, const void *window,
                                         void *coarse, void *fine, LIDAR_EBM_RUN);

// The three of support [p, 3] nearest to each of query [q, 3] (float32, m) in the same frame (batches int64, below
// batch_size): distance [q, 3] float32 and index [q, 3] int64; infinity and -1 where there is none. The orders
// (int64) are those of the keys. `scratch` holds the search tree.
LIDAR_EBM_API int lidar_ebm_three_nearest(const void *query, const void *query_batch, const void *query_order,
                                          int64_t q, const void *support, const void *support_batch,
                                          const void *support_order, int64_t p, int64_t batch_size, void *scratch,
                                          int64_t scratch_bytes, void *distance, void *index, LIDAR_EBM_RUN);

// result [q, c] = the sum over k of weight [q, 3] times the row index [q, 3] of features [p, c]; no row where the index
// is -1. Features and result are of `dtype`, weights float64 for float64, otherwise float32.
LIDAR_EBM_API int lidar_ebm_weigh_rows(const void *features, int64_t dtype, int64_t p, int64_t c, const void *index,
                                       const void *weight, int64_t q, void *result, LIDAR_EBM_RUN);

// Its gradient [p, c] to the features from that of the result. rows [entries]: the 3 q indices in rising order; order:
// where each stood.
LIDAR_EBM_API int lidar_ebm_weigh_rows_backward(const void *gradient, int64_t dtype, int64_t p, int64_t c,
                                                const void *rows, const void *order, const void *weight,
                                                int64_t entries, void *result, LIDAR_EBM_RUN);

// ---------------------------------------------------------------------------------------------------- sparse_conv

// What is wrong with the cells of a sparse convolution, the gravest last.
enum { LIDAR_EBM_CELLS_FINE = 0, LIDAR_EBM_CELLS_UNSORTED = 1, LIDAR_EBM_CELL_TWICE = 2, LIDAR_EBM_CELL_OUTSIDE = 3 };

// Cells are int32 (batch, z, y, x). `geometry` is int64 [16] on the host: batch size, then along (z, y, x) the shapes of
// the input and of the output grid, kernel, stride and padding; K is the product of the kernel's sizes. A key is a
// cell's place among all cells of the output grids. Pairs stand offset by offset, those of offset k from starts[k]
// (int64 [K + 1], on the host but where said) on, sorted by output row, which no offset holds twice; rows are int32. In
// a submanifold kernel offset `identity` (otherwise -1) has pairs (i, i), not listed, and the mirrored offset has the
// same pairs turned round.

// status [1] becomes the gravest of the above, if it is not fine. A cell that occurs twice is sure to be found only
// where the cells are sorted.
LIDAR_EBM_API int lidar_ebm_sparse_conv_check(const void *cells, int64_t count, const void *geometry, void *status,
                                              LIDAR_EBM_RUN);

// From here to the pairs, cells are sorted and fine.

// CPU: the keys of all output cells that see one of the cells, rising, into keys, which has room for R of each cell, R
// being the product of ceil(kernel / stride); found [1] is how many they are.
LIDAR_EBM_CPU_API int lidar_ebm_sparse_conv_outputs(const void *cells, int64_t count, const void *geometry, void *keys,
                                                void *found, LIDAR_EBM_RUN);

// CUDA: the same keys, but keys [count, R] of each cell, filled up with INT64_MAX.
LIDAR_EBM_CUDA_API int lidar_ebm_sparse_conv_candidates(const void *cells, int64_t count, const void *geometry, void *keys,
                                                   LIDAR_EBM_RUN);

// Output cells [count, 4] of keys [count], and keys of cells.
LIDAR_EBM_API int lidar_ebm_sparse_conv_cells(const void *keys, int64_t count, const void *geometry, void *cells,
                                              LIDAR_EBM_RUN);
LIDAR_EBM_API int lidar_ebm_sparse_conv_keys(const void *cells, int64_t count, const void *geometry, void *keys,
                                             LIDAR_EBM_RUN);

// table [planes, inputs] int32: the output row that sees each input row under each of the first `planes` offsets, or -1.
// They are all offsets, or those before a submanifold kernel's middle. `keys` [outputs] are the output cells'; blocks
// [slots, 3] int64, a power of two above `outputs`, is scratch.
LIDAR_EBM_API int lidar_ebm_sparse_conv_table(const void *cells, int64_t inputs, const void *geometry,
                                              const void *keys, int64_t outputs, void *blocks, int64_t slots,
                                              int64_t planes, void *table, LIDAR_EBM_RUN);

// CPU: how many pairs each plane of a table has, counts [planes]; then the pairs of all offsets at their starts.
LIDAR_EBM_CPU_API int lidar_ebm_sparse_conv_count(const void *table, int64_t planes, int64_t inputs, void *counts,
                                              LIDAR_EBM_RUN);
LIDAR_EBM_CPU_API int lidar_ebm_sparse_conv_pairs(const void *table, int64_t planes, int64_t inputs, const void *starts,
                                              int64_t offsets, void *in_rows, void *out_rows, LIDAR_EBM_RUN);

// CPU: source [inputs, cin] and weight [cout, K, cin], of one dtype (float32, float64), into result [outputs, cout]; or,
// backward, a gradient of that result as source into one [inputs, cin].
LIDAR_EBM_CPU_API int lidar_ebm_sparse_conv(const void *source, const void *weight, int64_t dtype, int64_t cout,
                                        int64_t offsets, int64_t cin, const void *in_rows, const void *out_rows,
                                        const void *starts, int64_t identity, int64_t inputs, int64_t outputs,
                                        int64_t backward, void *result, LIDAR_EBM_RUN);

// CPU: the gradient [cout, K, cin] of the weight from features [inputs, cin] and grad [outputs, cout].
LIDAR_EBM_CPU_API int lidar_ebm_sparse_conv_weight(const void *features, const void *grad, int64_t dtype, int64_t cout,
                                               int64_t offsets, int64_t cin, const void *in_rows, const void *out_rows,
                                               const void *starts, int64_t identity, int64_t inputs, void *gradient,
                                               LIDAR_EBM_RUN);

// CUDA: gathered [count, channels] = source [*, channels] at rows [count] (int32), of any floating type.
LIDAR_EBM_CUDA_API int lidar_ebm_sparse_conv_gather(const void *source, int64_t dtype, const void *rows, int64_t count,
                                               int64_t channels, void *gathered, LIDAR_EBM_RUN);

// CUDA: places [*, K] int64, given as -1: where among the pairs each row's pair of each offset stands. `rows` [count] are
// the pairs' output rows, or their input rows; starts is on the device.
LIDAR_EBM_CUDA_API int lidar_ebm_sparse_conv_places(const void *rows, int64_t count, const void *starts, int64_t offsets,
                                               void *places, LIDAR_EBM_RUN);

// CUDA: total [rows, channels] += the products [*, channels] at each row's places [rows, K], in the offsets' order.
LIDAR_EBM_CUDA_API int lidar_ebm_sparse_conv_sum(const void *products, int64_t dtype, const void *places, int64_t rows,
                                            int64_t offsets, int64_t channels, void *total, LIDAR_EBM_RUN);
