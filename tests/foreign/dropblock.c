/* DropBlock in C99, tested by the test vectors of dropblock_ref:
 *
 *     cc -std=c99 -O2 dropblock.c -o dropblock && ./dropblock VECTORS RESULTS
 *
 * dilate, count_scale and multiply are the layer; the rest reads the vectors and writes what the layer makes of them.
 * float32 and float64 on a little-endian machine, kept cells counted over the batch or not at all; other cases are left
 * out. With -DPLANTED_BUG even blocks lie on the wrong side of the seed. */
#define _POSIX_C_SOURCE 200809L /* mkdir */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
typedef unsigned char Bool;

/* Spread each True of `in` along an axis of `size` cells, `step` entries apart; once along each axis: a block. */
static void dilate(const Bool *in, Bool *out, long count, long step, long size, long before, long after)
{
    for (long i = 0; i < count; i++) {
        long at = i / step % size; /* position on the axis */
        for (long u = at - before; in[i] && u <= at + after; u++)
            if (0 <= u && u < size) out[i + (u - at) * step] = 1;
    }
}

static double count_scale(const Bool *keep, long count, double epsilon, double all_dropped)
{
    long kept = 0;
    for (long i = 0; i < count; i++) kept += keep[i];
    return count == 0 ? 1 : kept == 0 ? all_dropped : count / (kept + epsilon);
}

/* `shared` channels of x, `step` entries apart, have one channel of the mask; samples may share all of it. */
static void multiply(const void *x, const Bool *keep, long mask_count, double scale, void *y, long count, long step,
                     long shared, int is_double)
{
    for (long i = 0; i < count; i++) {
        double factor = keep[(i / (step * shared) * step + i % step) % mask_count] * scale;
        if (is_double) ((double *)y)[i] = ((const double *)x)[i] * factor;
        else ((float *)y)[i] = (float)(((const float *)x)[i] * factor);
    }
}

static void fail(const char *why, const char *what) { fprintf(stderr, "dropblock: %s %s\n", why, what); exit(2); }
/* Where the value of a field begins. The fields of a case are flat, and a case is one line. */
static const char *field(const char *line, const char *key)
{
    char quoted[64];
    snprintf(quoted, sizeof quoted, "\"%s\": ", key);
    const char *found = strstr(line, quoted);
    if (!found) fail("the manifest has no field", key);
    return found + strlen(quoted);
}

static int is(const char *line, const char *key, const char *value)
{ return strncmp(field(line, key), value, strlen(value)) == 0; }

static int integers(const char *list, int values[5]) /* from "[2, 3]" */
{
    int n = 0;
    char *end;
    for (; *list != ']' && n < 5; list = end) values[n++] = (int)strtol(list + 1, &end, 10);
    return n;
}

static FILE *open_file(const char *folder, const char *name, const char *file_name, const char *mode)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s/%s", folder, name, file_name);
    for (char *slash = strchr(path + 1, '/'); *mode == 'w' && slash; slash = strchr(slash + 1, '/'))
        *slash = 0, mkdir(path, 0777), *slash = '/';
    FILE *file = fopen(path, mode);
    if (!file) fail("cannot open", path);
    return file;
}

static void load(const char *folder, const char *name, const char *array, void *data, size_t bytes)
{
    unsigned char start[10]; /* magic, version 1.0, length of the header */
    FILE *file = open_file(folder, name, array, "rb");
    if (fread(start, 1, 10, file) != 10 || fseek(file, start[8] + 256 * start[9], SEEK_CUR)
        || fread(data, 1, bytes, file) != bytes) fail("cannot read the array", array);
    fclose(file);
}

static void save(const char *folder, const char *name, const char *array, const char *descr, const char *shape,
                 const void *data, size_t bytes)
{
    char header[118];
    snprintf(header, sizeof header, "{'descr': '%s', 'fortran_order': False, 'shape': (%.40s), }", descr, shape);
    FILE *file = open_file(folder, name, array, "wb");
    fprintf(file, "\x93NUMPY\x01%c%c%c%-117s\n", 0, 118, 0, header); /* 118 bytes follow the first ten */
    if (fwrite(data, 1, bytes, file) != bytes || fclose(file)) fail("cannot write the array", array);
}

static void run(const char *line, const char *vectors, const char *results)
{
    char name[256] = "", shape_text[64] = "", mask_shape_text[64] = "";
    int is_double = is(line, "dtype", "\"float64\""), shape[5], mask_shape[5], block[5], smallest = 1 << 30;
    sscanf(field(line, "name"), "\"%255[^\"]\"", name);
    int counted = is(line, "scale_over", "\"batch\""), by_keep_prob = is(line, "scale_over", "\"keep_prob\"");
    if (!(is_double || is(line, "dtype", "\"float32\"")) || !(counted || by_keep_prob)) return;
    sscanf(field(line, "shape"), "[%63[^]]", shape_text);
    sscanf(field(field(line, "seeds"), "shape"), "[%63[^]]", mask_shape_text);
    int ndim = integers(field(line, "shape"), shape), rank = integers(field(line, "block_size"), block);
    integers(field(field(line, "seeds"), "shape"), mask_shape);
    int channel_axis = is(line, "data_format", "\"channels_last\"") ? ndim - 1 : 1, first = channel_axis == 1 ? 2 : 1;
    int before = is(line, "even_extra_cell", "\"before\"");
#ifdef PLANTED_BUG
    before = !before;
#endif
    long count = 1, mask_count = 1, step = 1, cells = 1, shared = shape[channel_axis] / mask_shape[channel_axis];
    for (int k = 0; k < ndim; k++) count *= shape[k], mask_count *= mask_shape[k];
    for (int k = first; k < first + rank; k++) cells *= shape[k], smallest = shape[k] < smallest ? shape[k] : smallest;
    size_t bytes = count * (is_double ? 8 : 4);
    Bool *seeds = calloc(mask_count + 1, 1), *keep = calloc(mask_count + 1, 1);
    void *x = malloc(bytes + 1), *y = malloc(bytes + 1);
    load(vectors, name, "seeds.npy", seeds, mask_count);
    for (int k = ndim - 1; k > 0; step *= mask_shape[k--]) {
        if (k == channel_axis) continue;
        int limit = is(line, "oversize_block", "\"clip_to_smallest_axis\"") ? smallest : shape[k], b = block[k - first];
        if (is(line, "oversize_block", "\"clip") && b > limit) b = limit;
        memset(keep, 0, mask_count);
        dilate(seeds, keep, mask_count, step, shape[k], before ? b / 2 : (b - 1) / 2, before ? (b - 1) / 2 : b / 2);
        memcpy(seeds, keep, mask_count);
    }
    double drop_prob = atof(field(line, "drop_prob")), all_dropped = is(line, "all_dropped", "\"nan\"") ? NAN : 0;
    int identity = is(line, "training", "false") || drop_prob == 0;
    for (long i = 0; i < mask_count; i++) keep[i] = identity || !seeds[i];
    double by_count = count_scale(keep, mask_count, atof(field(line, "epsilon")), all_dropped);
    double scale = identity ? 1 : by_keep_prob ? 1 / (1 - drop_prob) : by_count;
    save(results, name, "keep_mask.npy", "|b1", mask_shape_text, keep, mask_count);
    for (int k = 0; k < 2; k++) {
        load(vectors, name, k ? "cotangent.npy" : "x.npy", x, bytes);
        multiply(x, keep, mask_count, scale, y, count, channel_axis == 1 ? cells : 1, shared, is_double);
        save(results, name, k ? "x_bar.npy" : "y.npy", is_double ? "<f8" : "<f4", shape_text, y, bytes);
    }
    free(seeds), free(keep), free(x), free(y);
}
int main(int argc, char **argv)
{
    char line[4096];
    if (argc != 3) fail("usage:", "dropblock VECTORS RESULTS");
    FILE *manifest = open_file(argv[1], ".", "manifest.json", "r");
    if (!fgets(line, sizeof line, manifest) || !is(line, "version", "1,")) fail("unknown version of", argv[1]);
    while (fgets(line, sizeof line, manifest))
        if (strncmp(line, "{\"name\": ", 9) == 0) run(line, argv[1], argv[2]);
    return fclose(manifest) != 0;
}
