# Debian packages by CPack: what is installed for a service, and in which of three packages. Included with E2EE_PACKAGE only, by
# scripts/package, which is the way to call it.
#   e2ee-keyholder          the program, its unit, user and configuration; no network libraries among what it needs
#   e2ee-hsm-proxy          the same for the proxy; needs the keyholder of the same version
#   e2ee-hsm-proxy-tools    for people at a terminal: e2ee-softhsm-init, completion, documents
set(packaging ${CMAKE_CURRENT_LIST_DIR})
set(generated ${CMAKE_BINARY_DIR}/packaging)
set(release 1 CACHE STRING "Debian revision of the packages")
set(version ${PROJECT_VERSION}-${release})
set(CMAKE_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE
    WORLD_READ WORLD_EXECUTE)

# e2ee_service(COMPONENT PACKAGE): unit, user and folders of a service, and its maintainer scripts.
function(e2ee_service component PACKAGE)
    configure_file(${packaging}/systemd/${PACKAGE}.service.in ${generated}/${PACKAGE}.service @ONLY)
    install(FILES ${generated}/${PACKAGE}.service DESTINATION lib/systemd/system COMPONENT ${component})
    install(FILES ${packaging}/systemd/${PACKAGE}.sysusers DESTINATION lib/sysusers.d RENAME ${PACKAGE}.conf
        COMPONENT ${component})
    install(FILES ${packaging}/systemd/${PACKAGE}.tmpfiles DESTINATION lib/tmpfiles.d RENAME ${PACKAGE}.conf
        COMPONENT ${component})
    install(FILES ${CMAKE_SOURCE_DIR}/docs/${PACKAGE}.conf DESTINATION /etc COMPONENT ${component})
    set(conffiles /etc/${PACKAGE}.conf)
    if(component STREQUAL keyholder)
        install(FILES ${packaging}/softhsm2.conf DESTINATION /etc/e2ee-keyholder COMPONENT keyholder)
        list(APPEND conffiles /etc/e2ee-keyholder/softhsm2.conf)
    endif()
    list(JOIN conffiles "\n" conffiles)
    file(WRITE ${generated}/${component}/conffiles "${conffiles}\n")
    set(control ${generated}/${component}/conffiles)
    foreach(script IN ITEMS postinst prerm postrm)
        configure_file(${packaging}/debian/${script}.in ${generated}/${component}/${script} @ONLY FILE_PERMISSIONS
            OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
        list(APPEND control ${generated}/${component}/${script})
    endforeach()
    configure_file(${packaging}/debian/README.Debian.in ${generated}/${component}/README.Debian @ONLY)
    install(FILES ${generated}/${component}/README.Debian DESTINATION share/doc/${PACKAGE} COMPONENT ${component})
    string(TOUPPER ${component} upper)
    set(CPACK_DEBIAN_${upper}_PACKAGE_CONTROL_EXTRA ${control} PARENT_SCOPE)
endfunction()

# gzip as Debian wants it: best, and without name and time.
function(e2ee_gzip source target)
    get_filename_component(folder ${target} DIRECTORY)
    file(MAKE_DIRECTORY ${folder})
    execute_process(COMMAND gzip -9nc ${source} OUTPUT_FILE ${target} COMMAND_ERROR_IS_FATAL ANY)
endfunction()

# e2ee_documents(COMPONENT PACKAGE MAN...): man pages, copyright, changelogs.
function(e2ee_documents component package)
    foreach(page IN LISTS ARGN)
        string(REGEX REPLACE ".*\\." "" section ${page})
        e2ee_gzip(${CMAKE_SOURCE_DIR}/docs/man/${page} ${generated}/man/${page}.gz)
        install(FILES ${generated}/man/${page}.gz DESTINATION share/man/man${section} COMPONENT ${component})
    endforeach()
    string(TIMESTAMP date "%a, %d %b %Y %H:%M:%S +0000" UTC) # of SOURCE_DATE_EPOCH
    file(WRITE ${generated}/${component}/changelog.Debian "e2ee-hsm-proxy (${version}) unstable; urgency=medium\n\n\
  * Packages made by scripts/package; what is new stands in changelog.gz.\n\n -- ${CPACK_PACKAGE_CONTACT}  ${date}\n")
    e2ee_gzip(${generated}/${component}/changelog.Debian ${generated}/${component}/changelog.Debian.gz)
    e2ee_gzip(${CMAKE_SOURCE_DIR}/CHANGES ${generated}/changelog.gz)
    install(FILES ${packaging}/debian/copyright ${generated}/${component}/changelog.Debian.gz ${generated}/changelog.gz
        DESTINATION share/doc/${package} COMPONENT ${component})
    # The one warning that is for uploads to Debian's own archive.
    file(WRITE ${generated}/${component}/overrides "${package}: initial-upload-closes-no-bugs\n")
    install(FILES ${generated}/${component}/overrides DESTINATION share/lintian/overrides RENAME ${package}
        COMPONENT ${component})
endfunction()

set(CPACK_PACKAGE_CONTACT "The e2ee-hsm-proxy authors <e2ee-hsm-proxy@packages.invalid>")
e2ee_service(keyholder e2ee-keyholder)
e2ee_service(proxy e2ee-hsm-proxy)
e2ee_documents(keyholder e2ee-keyholder e2ee-keyholder.1)
e2ee_documents(proxy e2ee-hsm-proxy e2ee-hsm-proxy.1 e2ee-hsm-proxy.conf.5)
e2ee_documents(tools e2ee-hsm-proxy-tools e2ee-softhsm-init.8)
configure_file(${packaging}/systemd/examples/pin-credential.conf ${generated}/examples/pin-credential.conf @ONLY)
install(FILES ${packaging}/systemd/examples/pcscd.conf ${packaging}/systemd/examples/yubihsm.conf
    ${packaging}/systemd/examples/network-hsm.conf ${packaging}/systemd/examples/custody-log.logrotate
    ${generated}/examples/pin-credential.conf DESTINATION share/doc/e2ee-keyholder/examples COMPONENT keyholder)
install(FILES ${packaging}/systemd/examples/api-key-credential.conf DESTINATION share/doc/e2ee-hsm-proxy/examples
    COMPONENT proxy)
install(PROGRAMS ${packaging}/e2ee-softhsm-init DESTINATION sbin COMPONENT tools)
install(FILES ${packaging}/completion/e2ee-hsm-proxy DESTINATION share/bash-completion/completions COMPONENT tools)
file(CREATE_LINK e2ee-hsm-proxy ${generated}/e2ee-keyholder SYMBOLIC)
install(FILES ${generated}/e2ee-keyholder DESTINATION share/bash-completion/completions COMPONENT tools)
file(GLOB documents ${CMAKE_SOURCE_DIR}/docs/*.md)
list(FILTER documents EXCLUDE REGEX "/CONTRIBUTING\\.md$")
install(FILES ${CMAKE_SOURCE_DIR}/README.md DESTINATION share/doc/e2ee-hsm-proxy-tools COMPONENT tools)
install(FILES ${documents} DESTINATION share/doc/e2ee-hsm-proxy-tools/docs COMPONENT tools)
install(DIRECTORY ${CMAKE_SOURCE_DIR}/docs/tokens DESTINATION share/doc/e2ee-hsm-proxy-tools/docs COMPONENT tools)

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_PACKAGE_NAME e2ee-hsm-proxy)
set(CPACK_PACKAGE_VERSION ${PROJECT_VERSION})
set(CPACK_STRIP_FILES ON)
set(CPACK_COMPONENTS_ALL keyholder proxy tools)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_RELEASE ${release})
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_DEBIAN_ENABLE_COMPONENT_DEPENDS OFF)
set(CPACK_DEBIAN_PACKAGE_SECTION net)
set(CPACK_DEBIAN_COMPRESSION_TYPE xz)
set(service_depends "systemd | systemd-standalone-sysusers, systemd | systemd-standalone-tmpfiles")

set(CPACK_DEBIAN_KEYHOLDER_PACKAGE_NAME e2ee-keyholder)
set(CPACK_DEBIAN_KEYHOLDER_PACKAGE_DEPENDS ${service_depends})
set(CPACK_DEBIAN_KEYHOLDER_PACKAGE_RECOMMENDS softhsm2)
set(CPACK_DEBIAN_KEYHOLDER_PACKAGE_SUGGESTS "e2ee-hsm-proxy, e2ee-hsm-proxy-tools, opensc-pkcs11, pcscd")
set(CPACK_COMPONENT_KEYHOLDER_DESCRIPTION "holds the keys of e2ee-hsm-proxy in a PKCS#11 token
The only process that loads the token's module, knows the PIN or sees a shared
secret: it makes secp256k1 key pairs in the token, derives AES keys for its
clients, and can keep a hash-chained log of what the token was asked to do.
.
The proxy starts it by itself, or uses it as a service with a user of its own.")

set(CPACK_DEBIAN_PROXY_PACKAGE_NAME e2ee-hsm-proxy)
set(CPACK_DEBIAN_PROXY_PACKAGE_DEPENDS "e2ee-keyholder (= ${version}), ca-certificates, ${service_depends}")
set(CPACK_DEBIAN_PROXY_PACKAGE_RECOMMENDS "e2ee-hsm-proxy-tools (= ${version})")
set(CPACK_COMPONENT_PROXY_DESCRIPTION "end-to-end encrypting proxy for OpenAI clients
Clients speak plain HTTP to it on this machine; it checks the attestation of a
model's enclave at Venice, seals every message to the key found there and opens
the streamed answer. The private keys are in a PKCS#11 token, behind
e2ee-keyholder.")

set(CPACK_DEBIAN_TOOLS_PACKAGE_NAME e2ee-hsm-proxy-tools)
set(CPACK_DEBIAN_TOOLS_PACKAGE_ARCHITECTURE all)
set(CPACK_DEBIAN_TOOLS_PACKAGE_SHLIBDEPS OFF)
set(CPACK_DEBIAN_TOOLS_PACKAGE_DEPENDS "e2ee-keyholder (>= ${PROJECT_VERSION}), opensc, softhsm2")
set(CPACK_DEBIAN_TOOLS_PACKAGE_SUGGESTS "bash-completion")
set(CPACK_COMPONENT_TOOLS_DESCRIPTION "set-up, completion and documents of e2ee-hsm-proxy
e2ee-softhsm-init makes a token in software for the service e2ee-keyholder.
With it come the completion of both programs' options in bash, and the
documents: operation, threat model, protocol, and a page for each kind of
token.")
include(CPack)
