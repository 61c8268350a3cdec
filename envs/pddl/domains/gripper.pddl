; A robot with grippers carries balls between rooms.
(define (domain gripper)
  (:requirements :strips :typing :equality :negative-preconditions)
  (:types room ball gripper)
  (:predicates
    (at-robby ?r - room)               ; the robot is in the room
    (at ?b - ball ?r - room)           ; the ball lies in the room
    (free ?g - gripper)
    (carry ?b - ball ?g - gripper))

  ; The competition's domain also lets the robot move to where it is, which changes nothing.
  (:action move
    :parameters (?from ?to - room)
    :precondition (and (at-robby ?from) (not (= ?from ?to)))
    :effect (and (at-robby ?to) (not (at-robby ?from))))

  (:action pick
    :parameters (?b - ball ?r - room ?g - gripper)
    :precondition (and (at-robby ?r) (at ?b ?r) (free ?g))
    :effect (and (carry ?b ?g) (not (at ?b ?r)) (not (free ?g))))

  (:action drop
    :parameters (?b - ball ?r - room ?g - gripper)
    :precondition (and (carry ?b ?g) (at-robby ?r))
    :effect (and (at ?b ?r) (free ?g) (not (carry ?b ?g)))))
