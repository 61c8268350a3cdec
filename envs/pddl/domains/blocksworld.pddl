; Blocks on a table and on each other, and a hand that moves one at a time.
(define (domain blocksworld)
  (:requirements :strips :typing)
  (:types block)
  (:predicates
    (on ?above ?below - block)
    (on-table ?b - block)
    (clear ?b - block)                 ; nothing is on it, and it is not in the hand
    (holding ?b - block)
    (arm-empty))

  (:action pickup
    :parameters (?b - block)
    :precondition (and (arm-empty) (on-table ?b) (clear ?b))
    :effect (and (holding ?b) (not (arm-empty)) (not (on-table ?b)) (not (clear ?b))))

  (:action putdown
    :parameters (?b - block)
    :precondition (holding ?b)
    :effect (and (arm-empty) (on-table ?b) (clear ?b) (not (holding ?b))))

  (:action stack
    :parameters (?b ?below - block)
    :precondition (and (holding ?b) (clear ?below))
    :effect (and (on ?b ?below) (clear ?b) (arm-empty)
                 (not (holding ?b)) (not (clear ?below))))

  (:action unstack
    :parameters (?b ?below - block)
    :precondition (and (arm-empty) (on ?b ?below) (clear ?b))
    :effect (and (holding ?b) (clear ?below)
                 (not (arm-empty)) (not (on ?b ?below)) (not (clear ?b)))))
