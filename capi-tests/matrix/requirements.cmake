# SPDX-License-Identifier: Apache-2.0
#
# What it takes to configure: compilers, CMake and cargo. What else is missing is named, with the option to do without.
include("${CMAKE_CURRENT_LIST_DIR}/steps.cmake")

# A machine with these programs only.
set(bin "${WORK}/bin")
file(MAKE_DIRECTORY "${bin}")
function(provide)
  foreach(name IN LISTS ARGN)
    find_program(program_${name} ${name} REQUIRED)
    file(CREATE_LINK "${program_${name}}" "${bin}/${name}" SYMBOLIC)
  endforeach()
endfunction()
provide(sh uname ar as ld nm ranlib strip readelf objdump objcopy addr2line)
set(make make)
if(GENERATOR STREQUAL "Ninja")
  set(make ninja)
endif()
provide(${make})
# These may be programs that look for others beside them.
foreach(name cargo cc c++)
  set(cargo "${CARGO}")
  set(cc "${C_COMPILER}")
  set(c++ "${CXX_COMPILER}")
  file(WRITE "${bin}/${name}" "#!/bin/sh\nPATH='$ENV{PATH}' exec '${${name}}' \"$@\"\n")
  file(CHMOD "${bin}/${name}" PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE)
endforeach()
set(ENV{PATH} "${bin}")
set(machine -G "${GENERATOR}" -DCMAKE_FIND_USE_CMAKE_SYSTEM_PATH=OFF -DCMAKE_DISABLE_FIND_PACKAGE_GTest=ON
  -DCMAKE_BUILD_TYPE=Debug)

# try(option...): a command that configures anew.
set(number 0)
function(try variable)
  math(EXPR number "${number} + 1")
  set(number ${number} PARENT_SCOPE)
  set(${variable} "${CMAKE_COMMAND}" -S "${PROJECT}" -B "${WORK}/build-${number}" ${machine} ${ARGN} PARENT_SCOPE)
endfunction()

# Libraries and tools.
try(command)
run("configuring with nothing but compilers and cargo" ${command})
try(command -DBUILD_TESTING=ON)
run("configuring for a host with tests" ${command})
try(command -DBUILD_TESTING=OFF -DCOUCHSTORE_BUILD_TESTS=ON)
run("configuring for a host without tests" ${command})

# Tests take more. Each is named, in the order in which it is missed.
set(without "-DCOUCHSTORE_BUILD_TESTS=OFF")
try(command -DCOUCHSTORE_BUILD_TESTS=ON)
expect_refusal("need pkg-config\\. Install it .Debian: pkg-config.*${without}" ${command})
try(command -DCOUCHSTORE_BUILD_TESTS=ON -DPKG_CONFIG_EXECUTABLE=/bin/true)
expect_refusal("need python3\\..*${without}" ${command})
try(command -DCOUCHSTORE_BUILD_TESTS=ON -DPKG_CONFIG_EXECUTABLE=/bin/true -DPYTHON3_EXECUTABLE=/bin/true)
expect_refusal("need GoogleTest\\. Install it .Debian: libgtest-dev.*${without}" ${command})
try(command -DCOUCHSTORE_BUILD_TESTS=ON -DCOUCHSTORE_CXX_API=OFF -DPKG_CONFIG_EXECUTABLE=/bin/true
  -DPYTHON3_EXECUTABLE=/bin/true)
expect_refusal("valgrind is missing.*-DCOUCHSTORE_VALGRIND=OFF" ${command})
try(command -DCOUCHSTORE_BUILD_TESTS=ON -DCOUCHSTORE_CXX_API=OFF -DPKG_CONFIG_EXECUTABLE=/bin/true
  -DPYTHON3_EXECUTABLE=/bin/true -DCOUCHSTORE_VALGRIND=OFF)
run("configuring the tests of the C functions" ${command})

# No C++ compiler.
try(command -DCMAKE_CXX_COMPILER=CMAKE_CXX_COMPILER-NOTFOUND)
expect_refusal("no C\\+\\+ compiler.*g\\+\\+.*-DCOUCHSTORE_CXX_API=OFF" ${command})
try(command -DCMAKE_CXX_COMPILER=CMAKE_CXX_COMPILER-NOTFOUND -DCOUCHSTORE_CXX_API=OFF)
run("configuring without a C++ compiler" ${command})

# No objcopy.
file(REMOVE "${bin}/objcopy")
try(command)
expect_refusal("objcopy is missing.*binutils.*-DCOUCHSTORE_INSTALL_DEBUG=inside" ${command})
try(command -DCOUCHSTORE_INSTALL_DEBUG=inside)
run("configuring without objcopy" ${command})

# No cargo, neither there nor where rustup puts it.
file(REMOVE "${bin}/cargo")
set(ENV{HOME} "${WORK}")
unset(ENV{CARGO_HOME})
try(command -DCOUCHSTORE_INSTALL_DEBUG=inside)
expect_refusal("cargo is missing\\. Install Rust 1\\.[0-9]+ or newer from https://rustup\\.rs.*-DCOUCHSTORE_CARGO=" ${command})
