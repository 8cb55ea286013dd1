# SPDX-License-Identifier: Apache-2.0
#
# Run by cpack when it has made Debian's packages: mends in each what CPack does otherwise.
#
#   Installed-Size   would count symbolic links as if they were copies
#   postinst, postrm call ldconfig, which the trigger does once for all packages
find_program(dpkg_deb dpkg-deb REQUIRED)

function(run)
  execute_process(COMMAND ${ARGN} OUTPUT_VARIABLE output OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
  set(output "${output}" PARENT_SCOPE)
endfunction()

foreach(package IN LISTS CPACK_PACKAGE_FILES)
  set(folder "${package}.folder")
  file(REMOVE_RECURSE "${folder}")
  run("${dpkg_deb}" --raw-extract "${package}" "${folder}")
  file(REMOVE "${folder}/DEBIAN/postinst" "${folder}/DEBIAN/postrm")
  run(du --summarize --apparent-size --block-size=1024 --exclude=DEBIAN "${folder}")
  string(REGEX MATCH "^[0-9]+" size "${output}")
  file(READ "${folder}/DEBIAN/control" control)
  string(REGEX REPLACE "Installed-Size: [0-9]+" "Installed-Size: ${size}" control "${control}")
  file(WRITE "${folder}/DEBIAN/control" "${control}")
  run("${dpkg_deb}" --root-owner-group --build "${folder}" "${package}")
  file(REMOVE_RECURSE "${folder}")
endforeach()
