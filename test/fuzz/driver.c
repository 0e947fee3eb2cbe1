/*
 * Replays files through a fuzzer without libFuzzer: gcc and valgrind know no
 * -fsanitize=fuzzer, yet the seeds and every input that once broke a parser
 * should run as a test under both. Arguments are files or directories of files
 * (one level). Exit 0 if all were read and none crashed.
 */
#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);
int LLVMFuzzerInitialize(int *argc, char ***argv) __attribute__((weak));

static int replayed;

static int complain(const char *path)
{
	fprintf(stderr, "%s: %s\n", path, strerror(errno));
	return 1;
}

static int replay_file(const char *path, size_t size)
{
	FILE *f = fopen(path, "rb");
	/* Exactly as long as the input, so that ASan and valgrind see the end. */
	uint8_t *bytes = malloc(size ? size : 1);
	int failed = 0;

	if (!f || !bytes || fread(bytes, 1, size, f) != size) {
		failed = complain(path);
	} else {
		LLVMFuzzerTestOneInput(bytes, size);
		replayed++;
	}
	if (f)
		fclose(f);
	free(bytes);
	return failed;
}

static int replay_dir(const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *entry;
	char name[4096];
	struct stat st;
	int failed = 0;

	if (!dir)
		return complain(path);
	while ((entry = readdir(dir))) {
		snprintf(name, sizeof(name), "%s/%s", path, entry->d_name);
		if (entry->d_name[0] == '.' || stat(name, &st) != 0 || !S_ISREG(st.st_mode))
			continue;
		failed |= replay_file(name, (size_t)st.st_size);
	}
	closedir(dir);
	return failed;
}

int main(int argc, char **argv)
{
	struct stat st;
	int failed = 0;

	if (LLVMFuzzerInitialize)
		LLVMFuzzerInitialize(&argc, &argv);
	for (int i = 1; i < argc; i++) {
		if (stat(argv[i], &st) != 0)
			failed |= complain(argv[i]);
		else if (S_ISDIR(st.st_mode))
			failed |= replay_dir(argv[i]);
		else
			failed |= replay_file(argv[i], (size_t)st.st_size);
	}
	printf("%d inputs replayed\n", replayed);
	return failed;
}
