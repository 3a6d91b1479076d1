# Makefile - short names for this project's commands. CMakeLists.txt defines how things are built.
#
#   make              builds the release: build/ram, build/libram.a and libram.so. Installs nothing.
#   make deps         installs the packages that the build needs: apt-get or dnf (with sudo when
#                     not root), or brew. FOR="fuzz interop ..." adds those of other targets.
#   make demo         quantises examples/tiny-qwen3, compares methods, and prints the result
#   make test         runs every test that needs no network
#   make install      installs command, libraries, header and man page [PREFIX=/usr/local] [DESTDIR=]
#   make oracles      prints published figures beside ours
#   make interop      runs our output in stock mlx_lm, compares figures with torch's (needs PyPI)
#   make bench        runs the benchmarks; results are ratios to measured limits
#   make quality      measures the budget method against its rivals (takes hours with mlx_lm)
#   make asan, tsan   runs the tests under sanitizers; asan also with every allocation failing once
#   make clang        builds with clang, warnings as errors, and runs the tests
#   make arm64        builds for AArch64 and runs the tests under qemu-user (Debian)
#   make fuzz         runs every fuzz target for FUZZ_SECONDS (60) each
#   make layers       checks includes between modules, that headers compile alone, names of symbols
#   make durations    lists how long the tests took when they were run last
#   make format, format-check, tidy, clean
#
# ONLY="base_pool kern_nn" restricts asan, tsan, clang and arm64 to the named tests.
#
# If packages are missing, `make` and `make install` stop and name them. The other targets do what
# `make deps` does, and print the command before they run it.

JOBS ?= $(shell nproc 2>/dev/null || sysctl -n hw.ncpu 2>/dev/null || echo 2)
PREFIX ?= /usr/local
FUZZ_SECONDS ?= 60
CMAKE_FLAGS ?=
CTEST_FLAGS ?= --output-on-failure -j$(JOBS)
# Tests, named as `ctest -N` does; if empty, all. Only they are built, then.
ONLY ?=
BUILD_ONLY = $(if $(ONLY),--target $(ONLY:%=test_%))
CTEST_ONLY = $(if $(ONLY),-R '^($(subst $() ,|,$(strip $(ONLY))))$$')
DEMO_OUT = out/demo
# The models that `make quality` measures; if empty, the three reference models.
QUALITY_MODELS ?=
# Programs named bench_make_* only write input for a benchmark.
BENCHES = $(filter-out bench_make_%, $(patsubst bench/%.c,bench_%,$(wildcard bench/*.c)))

# Missing packages are named (check) or installed (install).
DEPS_MODE = check
# Purposes beyond building and testing whose packages are wanted, too: see tools/setup.sh.
FOR ?=

# CMake runs make itself, which must not print directories.
MAKEFLAGS += --no-print-directory

# What clang-format sees.
FORMATTED = find cli src include tests bench examples -name '*.[ch]' -o -name '*.inc'
# What clang-tidy sees: files that differ from the commit TIDY_BASE, or if that is empty, all.
TIDY_BASE ?=
TIDIED = $(if $(TIDY_BASE),git diff --name-only --diff-filter=d $(TIDY_BASE) -- 'cli/*.c' 'src/*.c',\
	find cli src -name '*.c')

.PHONY: all deps packages configure demo test install oracles interop bench quality asan tsan clang \
	arm64 fuzz layers durations format format-check tidy clean

all: configure
	@cmake --build build -j$(JOBS) --target ram ram_static ram_shared example_quantize

# Target-specific variables hold for the prerequisites of a target, too.
deps demo test oracles interop bench quality asan tsan clang arm64 fuzz layers format format-check \
	tidy: DEPS_MODE = install
interop: FOR = interop
quality: FOR = quality
fuzz clang: FOR = fuzz
arm64: FOR = arm64
format format-check: FOR = format
tidy: FOR = tidy

deps: packages

packages:
	@sh tools/setup.sh $(DEPS_MODE) $(FOR)

configure: packages
	@mkdir -p build
	@cmake --preset release -G "Unix Makefiles" $(CMAKE_FLAGS) >build/configure.log 2>&1 \
		|| { cat build/configure.log; exit 1; }

demo: all
	@sh tools/demo.sh build/ram $(DEMO_OUT)

test: configure
	@cmake --build build -j$(JOBS)
	@ctest --test-dir build $(CTEST_FLAGS)

install: configure
	@cmake --preset release -DCMAKE_INSTALL_PREFIX=$(PREFIX) >/dev/null
	@cmake --build build -j$(JOBS) --target ram ram_static ram_shared
	@cmake --install build

oracles: configure
	@cmake --build build -j$(JOBS) --target test_oracles
	@RAM_SOURCE=$(CURDIR) build/test_oracles --table

interop: all
	@RAM=$(CURDIR)/build/ram sh tests/interop/run.sh

bench: all
	@cmake --build build -j$(JOBS) --target $(BENCHES)
	@for bench in $(BENCHES); do echo "== $$bench"; build/$$bench || exit 1; done

quality: all
	@sh tools/quality.sh build/ram out/quality $(QUALITY_MODELS)

asan tsan clang: packages
	@cmake --preset $@ -G "Unix Makefiles" $(CMAKE_FLAGS) >/dev/null
	@cmake --build build-$@ -j$(JOBS) $(BUILD_ONLY)
	@ctest --test-dir build-$@ $(CTEST_FLAGS) $(CTEST_ONLY)

arm64: packages
	@sh tools/arm64.sh
	@cmake --preset $@ -G "Unix Makefiles" $(CMAKE_FLAGS) >/dev/null
	@cmake --build build-$@ -j$(JOBS) $(BUILD_ONLY)
	@ctest --test-dir build-$@ $(CTEST_FLAGS) $(CTEST_ONLY)

fuzz: packages
	@cmake --preset fuzz -G "Unix Makefiles" $(CMAKE_FLAGS) >/dev/null
	@sh tools/fuzz.sh build-fuzz $(FUZZ_SECONDS) $(JOBS)

layers: all
	@sh tools/check_layers.sh
	@sh tools/check_headers.sh
	@sh tools/check_symbols.sh build/libram.a build/libram.so

durations:
	@sh tools/durations.sh build

format: packages
	@$(FORMATTED) | xargs clang-format-14 -i

format-check: packages
	@$(FORMATTED) | xargs clang-format-14 --dry-run -Werror

tidy: packages
	@cmake --preset dev -G "Unix Makefiles" >/dev/null
	@$(TIDIED) | xargs -P$(JOBS) -n4 -r clang-tidy --quiet -p build-dev

clean:
	@rm -rf build build-dev build-asan build-tsan build-clang build-arm64 build-fuzz out
